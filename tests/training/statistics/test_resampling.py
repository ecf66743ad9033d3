"""Intervals over groups: as wide as the groups make them, and paired where both are measured."""

import numpy as np

from training.statistics.confusion import bootstrap_intervals, count_confusion
from training.statistics.resampling import group_intervals, paired_intervals


def _simulate() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """100 groups of 10 items each; a group is right or wrong as a whole."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    labels = rng.integers(3, size=1000)
    wrong = np.repeat(rng.random(100) < 0.3, 10)
    return labels, np.where(wrong, (labels + 1) % 3, labels), groups


def _width(interval: list[float]) -> float:
    return interval[1] - interval[0]


def test_groups_that_err_together_widen_the_interval() -> None:
    labels, answers, groups = _simulate()
    accuracy = float((labels == answers).mean())
    grouped = group_intervals(labels, answers, groups, 3, seed=0)["accuracy"]
    items = bootstrap_intervals(count_confusion(labels, answers, 3), seed=0)["accuracy"]
    assert grouped[0] < accuracy < grouped[1]
    # A share of 0.7 among 100 groups has a standard error of 0.046, among 1,000 items of 0.0145.
    assert 0.15 < _width(grouped) < 0.21
    assert _width(items) < 0.07


def test_items_as_their_own_groups_give_the_interval_of_items() -> None:
    labels, answers, _ = _simulate()
    alone = group_intervals(labels, answers, np.arange(1000), 3, seed=0)["accuracy"]
    items = bootstrap_intervals(count_confusion(labels, answers, 3), seed=0)["accuracy"]
    assert abs(_width(alone) - _width(items)) < 0.01


def test_a_pair_shares_what_makes_a_group_hard() -> None:
    labels, answers, groups = _simulate()
    others = answers.copy()
    others[:20] = (labels[:20] + 1) % 3  # two groups worse
    paired = paired_intervals(labels, answers, others, groups, 3, seed=0)["accuracy"]
    difference = float((answers == labels).mean() - (others == labels).mean())
    interval = paired["interval"]
    assert isinstance(interval, list)
    assert paired["difference"] == difference > 0.0
    assert 0.0 <= interval[0] < difference < interval[1]
    assert _width(interval) < 0.06
    none = paired_intervals(labels, answers, answers, groups, 3, seed=0)["accuracy"]
    assert none == {"difference": 0.0, "interval": [0.0, 0.0]}
