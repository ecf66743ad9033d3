"""What turns logits into honest answers: a temperature, and thresholds of prediction sets.

Both are set on items the model was not trained on, and both answer for a uniform prior;
`contract.predictions` applies them. Arrays are as in `training.probabilities`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.probabilities import (
    Floats,
    Ints,
    brier_score,
    calibrate_logits,
    check_logits,
    expected_calibration_error,
    negative_log_likelihood,
    weigh_items,
)

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: without them perfect or hopeless answers would have none."""


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature of highest likelihood under the uniform prior (Guo et al., ICML 2017).

    Every class weighs the same, as the raw `logits` (items, K) answer for a uniform prior.
    In 1/T the loss is convex, so its derivative has one sign change, which is bisected to
    1e-12 between the bounds. Raises ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    weights = weigh_items(truth, _uniform(scores))
    own = scores[np.arange(len(truth)), truth]
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    while high - low > 1e-12:
        middle = (low + high) / 2
        expected = (calibrate_logits(scores, math.exp(-middle)) * scores).sum(axis=1)
        if weights @ (expected - own) > 0.0:  # derivative of the loss in 1/T
            high = middle
        else:
            low = middle
    return math.exp(-(low + high) / 2)


def fit_thresholds(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    temperature: float,
    coverage: float = 0.9,
    *,
    views: int = 1,
) -> list[float]:
    """Least probability, per class, at which the class enters the prediction set.

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
    probabilities = calibrate_logits(scores, temperature)
    thresholds = []
    for index in range(scores.shape[1]):
        own = np.sort(probabilities[truth == index, index])[::-1]
        # 90% of 10 is 9, whatever the last bit of 0.9 says.
        rank = math.ceil(round((len(own) + views) * coverage, 9))
        threshold = float(own[rank - 1]) if rank <= len(own) else 0.0
        thresholds.append(math.floor(threshold * 1e6) / 1e6)
    return thresholds


def cross_fit(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    prior: NDArray[np.floating],
    *,
    folds: int = 5,
    seed: int = 0,
    coverage: float = 0.9,
) -> dict[str, Any]:
    """Measure calibration and prediction sets on items that set neither, ready for JSON.

    The items (out-of-fold logits, if they come from cross-validation) are dealt into
    `folds` parts, class by class. Temperature and thresholds are set on all parts but one
    and measured on that one. Calibration is stated under the uniform prior and under
    `prior` (K,), before (temperature 1) and after. `coverage` is the mean over classes,
    `set_size` the mean at equal class sizes.
    Raises ValueError for arrays that do not match or fewer items than folds.
    """
    results = cross_fit_views(
        {"": logits}, labels, prior, folds=folds, seed=seed, coverage=coverage
    )
    return results[""]


def cross_fit_views(
    views: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.integer],
    prior: NDArray[np.floating],
    *,
    folds: int = 5,
    seed: int = 0,
    coverage: float = 0.9,
) -> dict[str, dict[str, Any]]:
    """`cross_fit` where one temperature and one set of thresholds serve several views.

    `views` holds the logits of the same items, in the same order, as each mode sees them
    (`live`, `retrospective`). What is set is set on all views of the other folds together;
    an item is never on both sides. The answer has one entry a view.
    """
    checked = {name: check_logits(logits, labels) for name, logits in views.items()}
    truth = next(iter(checked.values()))[1]
    if not 2 <= folds <= len(truth):
        raise ValueError(f"{len(truth)} items cannot be dealt into {folds} folds")
    shares = np.asarray(prior, dtype=np.float64)
    scores = {name: each[0] for name, each in checked.items()}
    held_out = _fit_others(scores, truth, deal_folds(truth, folds, seed), coverage)
    return {
        name: {
            "folds": folds,
            "temperatures": sorted(set(held_out.temperatures.tolist())),
            "before": _score(scores[name], np.ones(len(truth)), truth, shares),
            "after": _score(scores[name], held_out.temperatures, truth, shares),
            "sets": _measure_sets(held_out.sets[name], truth, coverage),
        }
        for name in views
    }


def measure_sets(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    temperature: float,
    thresholds: Sequence[float],
    coverage: float,
) -> dict[str, Any]:
    """What prediction sets of given thresholds hold, on items that did not set them.

    `coverage` is the aim they were set for. Raises ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    return _measure_sets(calibrate_logits(scores, temperature) >= thresholds, truth, coverage)


def deal_folds(labels: Ints, folds: int, seed: int) -> Ints:
    """Fold of each item: random, each class spread as evenly as can be."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    places = np.empty(len(labels), dtype=np.int64)
    places[order] = np.arange(len(labels)) % folds
    return places


class _HeldOut(NamedTuple):
    temperatures: Floats
    """(items,): the temperature that the other folds set."""
    sets: dict[str, NDArray[np.bool_]]
    """View → (items, classes): whether the class is in the item's prediction set."""


def _fit_others(
    scores: Mapping[str, Floats], labels: Ints, places: Ints, coverage: float
) -> _HeldOut:
    temperatures = np.empty(len(labels))
    sets = {name: np.empty(each.shape, dtype=np.bool_) for name, each in scores.items()}
    for fold in np.unique(places):
        inside = places == fold
        pooled = np.concatenate([each[~inside] for each in scores.values()])
        truth = np.tile(labels[~inside], len(scores))
        temperature = fit_temperature(pooled, truth)
        thresholds = fit_thresholds(pooled, truth, temperature, coverage, views=len(scores))
        temperatures[inside] = temperature
        for name, each in scores.items():
            sets[name][inside] = calibrate_logits(each[inside], temperature) >= thresholds
    return _HeldOut(temperatures, sets)


def _score(scores: Floats, temperatures: Floats, labels: Ints, prior: Floats) -> dict[str, float]:
    results = {}
    for name, mix, shift in (("uniform", _uniform(scores), None), ("training", prior, prior)):
        # Each item has its own temperature already: divide first, then at temperature 1.
        probabilities = calibrate_logits(scores / temperatures[:, None], 1.0, shift)
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
