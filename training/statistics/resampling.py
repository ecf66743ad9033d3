"""95% intervals by resampling groups: items that share text are not independent.

Whole groups are drawn with replacement, as many as there are, so an interval is as wide as
the number of dialogues makes it and not as narrow as the number of turns would. Labels, answers
and groups have shape (items,).
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from training.statistics.confusion import (
    RESAMPLES,
    count_confusion,
    summarize_confusion,
    summarize_confusions,
)
from training.statistics.probabilities import Floats, Ints

_AT_ONCE = 200  # resamples; their weights of all groups fit into memory


def group_intervals(
    labels: Ints, answers: Ints, groups: Ints, classes: int, *, seed: int
) -> dict[str, list[float]]:
    """Percentile intervals of accuracy, macro recall and macro F1."""
    parts = [
        summarize_confusions(each) for each in _resample(labels, answers, groups, classes, seed)
    ]
    return {name: _take_interval([part[name] for part in parts]) for name in parts[0]}


def paired_intervals(
    labels: Ints, answers: Ints, others: Ints, groups: Ints, classes: int, *, seed: int
) -> dict[str, dict[str, float | list[float]]]:
    """How much better `answers` are than `others` on the same items, and the interval of that.

    Both are counted on the same groups in each resample, so what makes a group easy for both
    does not widen the interval.
    """
    pairs = zip(
        _resample(labels, answers, groups, classes, seed),
        _resample(labels, others, groups, classes, seed),
        strict=True,
    )
    parts = [(summarize_confusions(one), summarize_confusions(other)) for one, other in pairs]
    whole = [
        summarize_confusion(count_confusion(labels, each, classes)) for each in (answers, others)
    ]
    return {
        name: {
            "difference": whole[0][name] - whole[1][name],
            "interval": _take_interval([one[name] - other[name] for one, other in parts]),
        }
        for name in parts[0][0]
    }


def _resample(
    labels: Ints, answers: Ints, groups: Ints, classes: int, seed: int
) -> Iterator[Floats]:
    """Confusion matrices of resamples, some at once: (resamples, classes, classes)."""
    rng = np.random.default_rng(seed)
    counts = _count_groups(labels, answers, groups, classes)
    number = counts.shape[0]
    for start in range(0, RESAMPLES, _AT_ONCE):
        size = min(_AT_ONCE, RESAMPLES - start)
        weights = rng.multinomial(number, np.full(number, 1.0 / number), size=size)
        yield np.asarray(weights @ counts, dtype=np.float64).reshape(-1, classes, classes)


def _count_groups(labels: Ints, answers: Ints, groups: Ints, classes: int) -> csr_matrix:
    """(groups, classes²): of each group its confusion matrix, laid flat."""
    numbers = np.unique(groups, return_inverse=True)[1]
    cells = labels * classes + answers
    shape = (int(numbers.max()) + 1, classes * classes)
    return csr_matrix((np.ones(len(labels)), (numbers, cells)), shape=shape)


def _take_interval(parts: list[Floats]) -> list[float]:
    low, high = np.quantile(np.concatenate(parts), [0.025, 0.975])
    return [float(low), float(high)]
