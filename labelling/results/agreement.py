"""How far labels agree with those that people gave."""

from collections import Counter
from typing import NamedTuple


class Agreement(NamedTuple):
    """Of rows with two labels: one by a person, one by the model."""

    rows: int
    equal: int
    kappa: float | None
    """Cohen's κ (1960), agreement beyond that of two who label at random with the same shares;
    None where it is not defined: both gave one and the same label to every row."""


def measure_agreement(pairs: Counter[tuple[str, str]]) -> Agreement:
    """From how often each pair of labels occurs; at least one must."""
    rows = pairs.total()
    equal = sum(count for (one, other), count in pairs.items() if one == other)
    ones: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for (one, other), count in pairs.items():
        ones[one] += count
        others[other] += count
    by_chance = sum(count * others[label] for label, count in ones.items()) / rows**2
    kappa = None if by_chance == 1.0 else (equal / rows - by_chance) / (1.0 - by_chance)
    return Agreement(rows, equal, kappa)
