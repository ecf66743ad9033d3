"""Thresholds of prediction sets, and how honest answers are on items that set nothing.

Scaling and thresholds are set on items the model was not trained on, and both answer for a
uniform prior; `contract.predictions` applies them. Arrays are as in
`training.statistics.probabilities`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.statistics.confusion import count_confusion, summarize_confusion
from training.statistics.probabilities import (
    Floats,
    Ints,
    brier_score,
    check_logits,
    expected_calibration_error,
    negative_log_likelihood,
    take_softmax,
    weigh_items,
)
from training.statistics.scaling import Scaling, fit_scaling


def fit_thresholds(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    coverage: float = 0.9,
    *,
    views: int = 1,
) -> list[float]:
    """Least probability, per class, at which the class enters the prediction set.

    `logits` (items, K) are calibrated ones.

    Class-conditional split conformal prediction (Vovk 2012): among n items of a class the
    threshold is the ⌈(n+1)·coverage⌉-th largest probability of their own class, so a new
    item of the class has it in its set with at least that chance. A class too small for
    such a rank (fewer than 9 items at 0.9) gets 0: it is in every set, which is all that
    can be promised. Thresholds are cut to six decimals downwards, so that an engine that
    rounds otherwise does not drop items that stand on the threshold.

    Where the rows hold every item `views` times (a turn with and without the turn after),
    the correction counts items and not rows: the views of an item are not independent.
    """
    scores, truth = check_logits(logits, labels)
    if not 0.0 < coverage < 1.0:
        raise ValueError(f"coverage {coverage} is not between 0 and 1")
    probabilities = take_softmax(scores)
    thresholds = []
    for index in range(scores.shape[1]):
        own = np.sort(probabilities[truth == index, index])[::-1]
        # 90% of 10 is 9, whatever the last bit of 0.9 says.
        rank = math.ceil(round((len(own) + views) * coverage, 9))
        threshold = float(own[rank - 1]) if rank <= len(own) else 0.0
        thresholds.append(math.floor(threshold * 1e6) / 1e6)
    return thresholds


class CrossFitted(NamedTuple):
    """What `cross_fit_views` says of a view."""

    logits: Floats
    """(items, classes): calibrated by a scaling that the item had no part in."""
    figures: dict[str, Any]
    """As `cross_fit` returns them."""


def cross_fit(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    prior: NDArray[np.floating],
    *,
    folds: int = 5,
    places: Ints | None = None,
    seed: int = 0,
    coverage: float = 0.9,
) -> dict[str, Any]:
    """Measure calibration and prediction sets on items that set neither, ready for JSON.

    The items (out-of-fold logits, if they come from cross-validation) are dealt into
    `folds` parts, class by class. Scaling and thresholds are set on all parts but one and
    measured on that one. Macro recall and calibration, under the uniform prior and under
    `prior` (K,), are stated before (raw logits) and after. `coverage` is the mean over
    classes, `set_size` the mean at equal class sizes.
    Raises ValueError for arrays that do not match or fewer items than folds.
    """
    results = cross_fit_views(
        {"": logits}, labels, prior, folds=folds, places=places, seed=seed, coverage=coverage
    )
    return results[""].figures


def cross_fit_views(
    views: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    prior: NDArray[np.floating],
    *,
    folds: int = 5,
    places: Ints | None = None,
    seed: int = 0,
    coverage: float = 0.9,
) -> dict[str, CrossFitted]:
    """`cross_fit` where one scaling and one set of thresholds serve several views.

    `views` holds the logits of the same items, in the same order, as each mode sees them
    (`live`, `retrospective`). What is set is set on all views of the other folds together;
    an item is never on both sides. The answer has one entry a view. `places` (items,) says
    which fold an item is in, where items that belong together must not be parted.
    """
    checked = {name: check_logits(logits, labels) for name, logits in views.items()}
    truth = next(iter(checked.values()))[1]
    if not 2 <= folds <= len(truth):
        raise ValueError(f"{len(truth)} items cannot be dealt into {folds} folds")
    shares = np.asarray(prior, dtype=np.float64)
    scores = {name: each[0] for name, each in checked.items()}
    dealt = deal_folds(truth, folds, seed) if places is None else places
    held_out = _fit_others(scores, truth, dealt, coverage)
    return {
        name: CrossFitted(
            held_out.logits[name],
            {
                "folds": folds,
                "temperatures": [each.temperature for each in held_out.scalings],
                "before": _score(scores[name], truth, shares),
                "after": _score(held_out.logits[name], truth, shares),
                "sets": _measure_sets(held_out.sets[name], truth, coverage),
            },
        )
        for name in views
    }


def measure_sets(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    thresholds: Sequence[float],
    coverage: float,
) -> dict[str, Any]:
    """What prediction sets of given thresholds hold, on items that did not set them.

    `logits` (items, K) are calibrated ones, `coverage` is the aim they were set for. Raises
    ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    return _measure_sets(take_softmax(scores) >= thresholds, truth, coverage)


def deal_folds(labels: Ints, folds: int, seed: int) -> Ints:
    """Fold of each item: random, each class spread as evenly as can be."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    places = np.empty(len(labels), dtype=np.int64)
    places[order] = np.arange(len(labels)) % folds
    return places


class _HeldOut(NamedTuple):
    scalings: list[Scaling]
    """Of each fold, set on the others."""
    logits: dict[str, Floats]
    """View → (items, classes): calibrated by what the other folds set."""
    sets: dict[str, NDArray[np.bool_]]
    """View → (items, classes): whether the class is in the item's prediction set."""


def _fit_others(
    scores: Mapping[str, Floats], labels: Ints, places: Ints, coverage: float
) -> _HeldOut:
    scalings = []
    logits = {name: np.empty(each.shape) for name, each in scores.items()}
    sets = {name: np.empty(each.shape, dtype=np.bool_) for name, each in scores.items()}
    for fold in np.unique(places):
        inside = places == fold
        pooled = np.concatenate([each[~inside] for each in scores.values()])
        truth = np.tile(labels[~inside], len(scores))
        scaling = fit_scaling(pooled, truth, views=len(scores))
        calibrated = scaling.apply(pooled)
        thresholds = fit_thresholds(calibrated, truth, coverage, views=len(scores))
        scalings.append(scaling)
        for name, each in scores.items():
            logits[name][inside] = scaling.apply(each[inside])
            sets[name][inside] = take_softmax(logits[name][inside]) >= thresholds
    return _HeldOut(scalings, logits, sets)


def _score(logits: Floats, labels: Ints, prior: Floats) -> dict[str, float]:
    confusion = count_confusion(labels, logits.argmax(axis=1), logits.shape[1])
    results = {"macro_recall": summarize_confusion(confusion)["macro_recall"]}
    for name, mix, shift in (("uniform", _uniform(logits), None), ("training", prior, prior)):
        probabilities = take_softmax(logits, shift)
        weights = weigh_items(labels, mix)
        results[f"ece_{name}"] = expected_calibration_error(probabilities, labels, weights)
        results[f"brier_{name}"] = brier_score(probabilities, labels, weights)
        results[f"nll_{name}"] = negative_log_likelihood(probabilities, labels, weights)
    return results


def _measure_sets(sets: NDArray[np.bool_], labels: Ints, coverage: float) -> dict[str, Any]:
    covered = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    weights = weigh_items(labels, np.full(sets.shape[1], 1.0 / sets.shape[1]))
    per_class = [
        float(covered[labels == index].mean()) if (labels == index).any() else None
        for index in range(sets.shape[1])
    ]
    return {
        "target": coverage,
        "coverage": float(weights @ covered),
        "coverage_per_class": per_class,
        "coverage_of_items": float(covered.mean()),
        "set_size": float(weights @ sizes),
        "set_size_of_items": float(sizes.mean()),
        "empty": float(weights @ (sizes == 0)),
        "single": float(weights @ (sizes == 1)),
    }


def _uniform(scores: Floats) -> Floats:
    return np.full(scores.shape[1], 1.0 / scores.shape[1])
