"""Confident learning: which given labels does a model speak against that never saw them?

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels"
(JAIR 70, 2021). `probabilities` (n, K) are out of fold and for the class mix of the data,
`labels` (n,) are those that were given, wrong ones among them. What is counted is what the model
is confident of: where it is confidently wrong, a right label is counted too.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.statistics.probabilities import Floats, Ints

NOBODY = -1
"""The confident class of an item of which the model is confident of none."""
_RESAMPLES = 500


class Shares(NamedTuple):
    """How large a part of the labels is wrong, by given class (K,), and of all."""

    by_class: Floats
    intervals: Floats
    """(K, 2): 95%, over the choice of groups."""
    told: NDArray[np.bool_]
    """(K,): whether the model knows the class well enough for its share to mean anything."""
    total: float
    """Of the classes of which it can be told."""
    interval: tuple[float, float]


def find_confident(probabilities: Floats, labels: Ints, weights: Floats | None = None) -> Ints:
    """The class (n,) that the model is confident an item has, or `NOBODY`.

    It is confident of a class from that class's threshold on: the mean probability of the class
    among the items that were given it (equations 2 and 3 of the paper). Of several the most
    probable counts. `weights` (n,) say how often an item counts in the thresholds.
    """
    thresholds = _find_thresholds(probabilities, labels, weights)
    allowed = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = allowed.argmax(axis=1)
    confident: Ints = np.where(allowed.max(axis=1) >= 0.0, best, NOBODY)
    return confident


def count_joint(
    confident: Ints, labels: Ints, classes: int, weights: Floats | None = None
) -> Floats:
    """Confident joint (K, K): items by given class and confident class."""
    known = confident != NOBODY
    cells = labels[known] * classes + confident[known]
    counted = None if weights is None else weights[known]
    joint = np.bincount(cells, counted, minlength=classes * classes).astype(np.float64)
    return joint.reshape(classes, classes)


def share_wrong(joint: Floats) -> Floats:
    """Share of each given class (K,) that another class would be right for: the rows of the
    confident joint, calibrated to sum to 1 (equation 4). A class without a confident item: 0."""
    totals = joint.sum(axis=1)
    kept = np.divide(np.diagonal(joint), totals, out=np.ones(len(joint)), where=totals > 0)
    shares: Floats = 1.0 - kept
    return shares


def estimate_shares(probabilities: Floats, labels: Ints, groups: Ints, *, seed: int = 0) -> Shares:
    """Shares of wrong labels with intervals that resample whole groups (n,).

    Of a class most of whose rows the model calls otherwise nothing can be told: it is the model
    that is wrong.
    """
    classes = probabilities.shape[1]
    told = _find_told(probabilities, labels)
    whole = share_wrong(count_joint(find_confident(probabilities, labels), labels, classes))
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    rng = np.random.default_rng(seed)
    samples, totals = np.empty((_RESAMPLES, classes)), np.empty(_RESAMPLES)
    for place in range(_RESAMPLES):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)[numbers]
        drawn = weights.astype(np.float64)
        confident = find_confident(probabilities, labels, drawn)
        samples[place] = share_wrong(count_joint(confident, labels, classes, drawn))
        totals[place] = _average(samples[place], np.bincount(labels, drawn, classes), told)
    low, high = np.quantile(totals, [0.025, 0.975])
    intervals = np.quantile(samples, [0.025, 0.975], axis=0).T
    total = _average(whole, np.bincount(labels, minlength=classes), told)
    return Shares(whole, intervals, told, total, (float(low), float(high)))


def rank_doubts(probabilities: Floats, labels: Ints, suggested: Ints) -> Floats:
    """How sure the model is of the suggested class (n,) rather than of the given one, 0 to 1:
    the part of the two's probability that is the suggestion's."""
    rows = np.arange(len(labels))
    given, other = probabilities[rows, labels], probabilities[rows, suggested]
    sure: Floats = other / np.maximum(given + other, np.finfo(np.float64).tiny)
    return sure


def _find_thresholds(probabilities: Floats, labels: Ints, weights: Floats | None) -> Floats:
    """Mean probability of each class (K,) among the items that were given it; above 1, which no
    probability is, for a class of which there is no item."""
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    counted = np.ones(len(labels)) if weights is None else weights
    totals = np.bincount(labels, counted, minlength=classes)
    sums = np.bincount(labels, counted * own, minlength=classes)
    thresholds: Floats = np.divide(sums, totals, out=np.full(classes, 2.0), where=totals > 0)
    return thresholds


def _find_told(probabilities: Floats, labels: Ints) -> NDArray[np.bool_]:
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[probabilities.argmax(axis=1) == labels], minlength=classes)
    told: NDArray[np.bool_] = (counts > 0) & (2 * right >= counts)
    return told


def _average(shares: Floats, counts: NDArray[np.number], told: NDArray[np.bool_]) -> float:
    """The share of all rows of the classes of which it can be told; 0 where there are none."""
    return float(shares[told] @ counts[told] / max(counts[told].sum(), 1.0))
