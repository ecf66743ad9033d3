"""From logits to probabilities under a stated prior, and scores of probabilities.

The arithmetic is that of `contract.predictions`, for arrays. Logits have shape (items,
classes) and answer for a uniform prior; labels have shape (items,) and are class indices.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 15
"""Bins of equal width between 0 and 1, as in Guo et al. (ICML 2017)."""


class Bin(NamedTuple):
    """Answers of like confidence; the weights of all bins sum to 1."""

    confidence: float
    accuracy: float
    weight: float


def check_logits(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Floats, Ints]:
    """Return both as float64 and int64.

    Raises ValueError if the shapes do not match, there is no item, a logit is not finite or
    a label is no column of the logits.
    """
    wide, indices = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if wide.ndim != 2 or wide.shape[1] < 2 or indices.shape != wide.shape[:1] or not len(wide):
        raise ValueError(f"logits {wide.shape} and labels {indices.shape} do not belong together")
    if not np.isfinite(wide).all():
        row = int(np.flatnonzero(~np.isfinite(wide).all(axis=1))[0])
        raise ValueError(f"a logit of item {row} is not finite")
    if indices.min() < 0 or indices.max() >= wide.shape[1]:
        raise ValueError(f"a label is not in 0..{wide.shape[1] - 1}")
    return wide, indices


def take_softmax(logits: Floats, prior: Floats | None = None) -> Floats:
    """Class probabilities (items, classes); `prior` (classes,) or None for the uniform one."""
    adjusted = logits if prior is None else logits + np.log(prior)
    weights: Floats = np.exp(adjusted - adjusted.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def weigh_items(labels: Ints, prior: Floats) -> Floats:
    """Weights (items,) that sum to 1 and turn the class mix of the items into the prior.

    The prior is renormalised over the classes that occur: of the others nothing is known.
    """
    counts = np.bincount(labels, minlength=len(prior))
    shares = np.where(counts > 0, prior, 0.0) / np.maximum(counts, 1)
    weights: Floats = shares[labels]
    weights /= weights.sum()
    return weights


def bin_confidences(probabilities: Floats, labels: Ints, weights: Floats) -> list[Bin]:
    """Group answers by the probability of the most probable class; empty bins are left out."""
    confidences = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        total = float(weights[inside].sum())
        if total > 0.0:
            confidence = float(weights[inside] @ confidences[inside]) / total
            accuracy = float(weights[inside] @ right[inside]) / total
            bins.append(Bin(confidence, accuracy, total))
    return bins


def expected_calibration_error(probabilities: Floats, labels: Ints, weights: Floats) -> float:
    """Weighted mean over the bins of |accuracy - confidence| (ECE of the top label)."""
    bins = bin_confidences(probabilities, labels, weights)
    return sum(each.weight * abs(each.accuracy - each.confidence) for each in bins)


def brier_score(probabilities: Floats, labels: Ints, weights: Floats) -> float:
    """Weighted mean of the squared distance to the one-hot label: 0 is perfect, 2 the worst."""
    misses = probabilities.copy()
    misses[np.arange(len(labels)), labels] -= 1.0
    return float(weights @ np.square(misses).sum(axis=1))


def negative_log_likelihood(probabilities: Floats, labels: Ints, weights: Floats) -> float:
    """Weighted mean of -log of the label's probability, in nats."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(weights @ -np.log(np.maximum(own, np.finfo(np.float64).tiny)))
