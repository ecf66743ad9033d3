"""What a load leaves behind, and figures of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of each measurement; seconds and counts."""

    turns: int
    batch_items: int
    stream_items: int
    warm_up_s: float
    load_s: float
    idle_requests: int

    @property
    def seconds(self) -> float:
        """Of one load, with its warm-up."""
        return self.warm_up_s + self.load_s


FULL = Size(
    turns=3, batch_items=2048, stream_items=20_000, warm_up_s=3.0, load_s=9.0, idle_requests=100
)
QUICK = Size(
    turns=1, batch_items=256, stream_items=1000, warm_up_s=0.5, load_s=1.5, idle_requests=10
)
SMOKE = Size(turns=1, batch_items=32, stream_items=64, warm_up_s=0.1, load_s=1.0, idle_requests=2)
"""For a test that everything runs to its end."""


class Sample(NamedTuple):
    """One request, by the clock of `time.perf_counter`."""

    due: float
    """When it was sent, or in an open loop should have been."""
    finished: float
    status: int

    @property
    def latency_s(self) -> float:
        return self.finished - self.due


def drop_beginning(samples: Sequence[Sample], size: Size) -> list[Sample]:
    """Return the samples of requests that were due after the warm-up."""
    begin = min(sample.due for sample in samples) + size.warm_up_s
    return [sample for sample in samples if sample.due >= begin]


def count_rate(samples: Sequence[Sample], size: Size) -> float:
    """Successes per second that finished after the warm-up, while load was coming in."""
    begin = min(sample.due for sample in samples) + size.warm_up_s
    end = begin + size.load_s
    done = sum(sample.status == 200 and begin <= sample.finished < end for sample in samples)
    return done / size.load_s


def tail(samples: Sequence[Sample]) -> float:
    """Return the 99th percentile of the latencies, in seconds."""
    return percentile([sample.latency_s for sample in samples], 99)


def middle(samples: Sequence[Sample]) -> float:
    """Return the median of the latencies, in seconds."""
    return percentile([sample.latency_s for sample in samples], 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; 0 if there is no value."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some runs."""
    return f"{min(values):.3g} to {max(values):.3g}"


def divide(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratios, turn by turn; 0 where a run was too short to have a value."""
    return [one / other if other else 0.0 for one, other in zip(values, others, strict=True)]
