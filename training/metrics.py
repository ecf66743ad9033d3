"""How good a classifier is, with intervals: everything the evaluation of a task states."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.probabilities import (
    Floats,
    Ints,
    bin_confidences,
    brier_score,
    calibrate_logits,
    check_logits,
    expected_calibration_error,
    negative_log_likelihood,
    weigh_items,
)

RESAMPLES = 2000
_NORMAL_95 = 1.959964  # 97.5% quantile of the normal distribution


def evaluate_task(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    label_ids: Sequence[str],
    prior: NDArray[np.floating],
    temperature: float,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of one task on one set of items, ready for JSON.

    `logits` (items, K) are raw and answer for a uniform prior, `labels` (items,) are indices
    into `label_ids`, `prior` (K,) is the class mix of the training data. The answer is the
    most probable class under the uniform prior; `training_prior_answers` says how the most
    probable class under the training prior does. Calibration is measured under both priors,
    each with the items weighted to its class mix.

    Macro averages run over the classes that occur among the labels. `macro_f1` depends on
    the class mix of the items, `macro_f1_uniform` is its value at equal class sizes.
    Raises ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    shares = np.asarray(prior, dtype=np.float64)
    if scores.shape[1] != len(label_ids) or shares.shape != (len(label_ids),):
        raise ValueError(f"{len(label_ids)} labels need as many logits and prior shares")
    confusion = count_confusion(truth, scores.argmax(axis=1), len(label_ids))
    adjusted = calibrate_logits(scores, temperature, shares).argmax(axis=1)
    return {
        "items": len(truth),
        "temperature": temperature,
        "label_ids": list(label_ids),
        "training_prior": shares.tolist(),
        **summarize_confusion(confusion),
        "macro_f1_uniform": _uniform_f1(confusion),
        "kappa": cohen_kappa(confusion),
        "intervals": bootstrap_intervals(confusion, seed=seed),
        "per_class": _describe_classes(confusion, label_ids),
        "groups": _describe_groups(confusion, label_ids, shares),
        "training_prior_answers": summarize_confusion(
            count_confusion(truth, adjusted, len(label_ids))
        ),
        **_measure_calibration(scores, truth, temperature, None, "uniform"),
        **_measure_calibration(scores, truth, temperature, shares, "training"),
        "confusion": confusion.tolist(),
    }


def count_confusion(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """Confusion matrix (classes, classes): rows are true classes, columns predicted ones."""
    flat = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def class_scores(confusion: NDArray[np.number]) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 per class, each (..., classes), from (..., classes, classes).

    What has no denominator is 0, as in scikit-learn.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    predicted, support = confusion.sum(axis=-2), confusion.sum(axis=-1)
    precision = _divide(hits, predicted)
    recall = _divide(hits, support)
    return precision, recall, _divide(2.0 * hits, predicted + support)


def summarize_confusion(confusion: Ints) -> dict[str, float]:
    """Accuracy, macro recall and macro F1 of one confusion matrix."""
    return {name: float(value) for name, value in _summarize(confusion).items()}


def cohen_kappa(confusion: Ints) -> float:
    """Agreement beyond chance (Cohen 1960); 0 when only one class occurs on both sides."""
    total = confusion.sum()
    agreement = np.trace(confusion) / total
    chance = (confusion.sum(axis=0) / total) @ (confusion.sum(axis=1) / total)
    return float((agreement - chance) / (1.0 - chance)) if chance < 1.0 else 0.0


def bootstrap_intervals(confusion: Ints, *, seed: int) -> dict[str, list[float]]:
    """95% percentile intervals of the summary, items resampled within their class.

    To resample n items of a class is to draw its row of the confusion matrix from a
    multinomial distribution, so no item has to be touched. The intervals tell how much
    other items of the same classes would change the figure; not how much another seed
    of the training would.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for row in confusion:
        total = int(row.sum())
        shares = row / total if total else np.full(len(row), 1.0 / len(row))
        rows.append(rng.multinomial(total, shares, size=RESAMPLES))
    summaries = _summarize(np.stack(rows, axis=1))
    return {
        name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in summaries.items()
    }


def wilson_interval(hits: int, total: int) -> list[float]:
    """95% interval of a share (Wilson 1927): honest for few items and shares of 0 or 1."""
    if total == 0:
        return [0.0, 1.0]
    z2 = _NORMAL_95**2
    share = hits / total
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = _NORMAL_95 / (1 + z2 / total)
    spread *= (share * (1 - share) / total + z2 / (4 * total**2)) ** 0.5
    return [max(0.0, middle - spread), min(1.0, middle + spread)]


def group_classes(prior: Floats) -> dict[str, list[int]]:
    """Thirds of the classes by their share of the training data: many, medium, few.

    Fixed counts (100 and 20 examples in Liu et al., CVPR 2019) would put nearly every
    class of a small data set into one group.
    """
    order = np.argsort(-prior, kind="stable")
    parts = np.array_split(order, 3)
    return {
        name: part.tolist() for name, part in zip(("many", "medium", "few"), parts, strict=True)
    }


def _summarize(confusion: NDArray[np.number]) -> dict[str, Floats]:
    """For one confusion matrix or a stack of them (..., classes, classes)."""
    _, recall, f1 = class_scores(confusion)
    support = confusion.sum(axis=-1)
    occurring = support > 0
    classes = np.maximum(occurring.sum(axis=-1), 1)
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return {
        "accuracy": hits / support.sum(axis=-1),
        "macro_recall": (recall * occurring).sum(axis=-1) / classes,
        "macro_f1": (f1 * occurring).sum(axis=-1) / classes,
    }


def _uniform_f1(confusion: Ints) -> float:
    """Macro F1 that the same recalls and confusions give when all classes are equally frequent."""
    shares = _divide(confusion.astype(np.float64), confusion.sum(axis=1, keepdims=True))
    return float(_summarize(shares)["macro_f1"])


def _describe_classes(confusion: Ints, label_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    precision, recall, f1 = class_scores(confusion)
    support = confusion.sum(axis=1)
    return {
        label_id: {
            "support": int(support[index]),
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "recall_interval": wilson_interval(int(confusion[index, index]), int(support[index])),
            "f1": float(f1[index]),
        }
        for index, label_id in enumerate(label_ids)
    }


def _describe_groups(
    confusion: Ints, label_ids: Sequence[str], prior: Floats
) -> dict[str, dict[str, Any]]:
    _, recall, f1 = class_scores(confusion)
    support = confusion.sum(axis=1)
    groups = {}
    for name, members in group_classes(prior).items():
        seen = [index for index in members if support[index] > 0]
        groups[name] = {
            "labels": [label_ids[index] for index in members],
            "items": int(support[members].sum()),
            "macro_recall": float(recall[seen].mean()) if seen else None,
            "macro_f1": float(f1[seen].mean()) if seen else None,
        }
    return groups


def _measure_calibration(
    scores: Floats, labels: Ints, temperature: float, prior: Floats | None, name: str
) -> dict[str, Any]:
    probabilities = calibrate_logits(scores, temperature, prior)
    classes = scores.shape[1]
    mix = np.full(classes, 1.0 / classes) if prior is None else prior
    weights = weigh_items(labels, mix)
    bins = bin_confidences(probabilities, labels, weights)
    return {
        f"ece_{name}": expected_calibration_error(probabilities, labels, weights),
        f"brier_{name}": brier_score(probabilities, labels, weights),
        f"nll_{name}": negative_log_likelihood(probabilities, labels, weights),
        f"reliability_{name}": [each._asdict() for each in bins],
    }


def _divide(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> Floats:
    quotient: Floats = np.divide(
        numerator,
        denominator,
        out=np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape)),
        where=np.asarray(denominator) > 0,
    )
    return quotient
