"""A day of uneven traffic, as a tutoring company has it: items a second, second by second."""

import math
import random
from dataclasses import dataclass

DAY_S = 86_400
_HOURS = (
    0.06, 0.03, 0.02, 0.02, 0.03, 0.08, 0.25, 0.55, 0.85, 0.90, 0.85, 0.70,
    0.55, 0.75, 0.90, 1.05, 1.35, 1.70, 2.10, 2.60, 2.50, 1.70, 0.70, 0.20,
)  # fmt: skip
"""Share of the mean at each full hour, before it is scaled to the day's items: lessons in the
morning, homework and tutoring in the evening."""
_LESSON_S = 240
_LESSON = 0.35
"""For so long after each full and half hour by day, so much more: lessons begin."""
_NOISE = 0.08
_NOISE_S = 20.0
"""Standard deviation of a slow noise, and how long it remembers."""


@dataclass(frozen=True, kw_only=True)
class Surge:
    """A sudden multiple of the traffic: a school that sends its whole year at once."""

    begin_s: int
    lasts_s: int
    times: float


SURGES = (
    Surge(begin_s=10 * 3600 + 600, lasts_s=420, times=2.2),
    Surge(begin_s=19 * 3600 + 1500, lasts_s=300, times=1.5),
)


def make_day(items: float, *, seed: int, surges: tuple[Surge, ...] = SURGES) -> list[int]:
    """Return how many items come in each second of a day of so many in the mean."""
    draw = random.Random(seed)
    shape = [_find_share(second, surges) for second in range(DAY_S)]
    scale = items / sum(shape)
    noise, arrivals = 0.0, []
    kept = math.exp(-1.0 / _NOISE_S)
    for share in shape:
        noise = noise * kept + draw.gauss(0.0, _NOISE * math.sqrt(1.0 - kept**2))
        mean = share * scale * max(0.0, 1.0 + noise)
        # Poisson, by its normal neighbour, which from some ten on is hard to tell apart.
        arrivals.append(max(0, round(draw.gauss(mean, math.sqrt(mean)))))
    return arrivals


def _find_share(second: int, surges: tuple[Surge, ...]) -> float:
    hour, rest = divmod(second, 3600)
    begin, end = _HOURS[hour], _HOURS[(hour + 1) % 24]
    share = begin + (end - begin) * rest / 3600
    if 7 <= hour < 22 and second % 1800 < _LESSON_S:
        share *= 1.0 + _LESSON
    for surge in surges:
        if surge.begin_s <= second < surge.begin_s + surge.lasts_s:
            share *= surge.times
    return share
