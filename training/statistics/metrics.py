"""How good a classifier is, with intervals: everything the evaluation of a task states."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.statistics.confusion import (
    bootstrap_intervals,
    class_scores,
    cohen_kappa,
    count_confusion,
    equalize_classes,
    summarize_confusion,
    uniform_f1,
)
from training.statistics.probabilities import (
    Floats,
    Ints,
    bin_confidences,
    brier_score,
    check_logits,
    expected_calibration_error,
    negative_log_likelihood,
    take_softmax,
    weigh_items,
)
from training.statistics.resampling import group_intervals

_NORMAL_95 = 1.959964  # 97.5% quantile of the normal distribution


def evaluate_task(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    label_ids: Sequence[str],
    prior: NDArray[np.floating],
    *,
    recurring: NDArray[np.bool_] | None = None,
    zero_shot: NDArray[np.floating] | None = None,
    groups: Ints | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of one task on one set of items, ready for JSON.

    `logits` (items, K) are calibrated (`training.statistics.scaling`) and answer for a uniform
    prior; what calibrates an item must come from others. `labels` (items,) are indices
    into `label_ids`, `prior` (K,) is the class mix of the training data. The answer is the
    most probable class under the uniform prior; `training_prior_answers` says how the most
    probable class under the training prior does. Calibration is measured under both priors,
    each with the items weighted to its class mix.

    With `recurring` (items,) the headline stands once more under `without_recurring`, for the
    items not marked in it; with `zero_shot` logits (items, K) it stands under `zero_shot`.
    With `groups` (items,) intervals are over the choice of whole groups, else of items.

    Macro averages run over the classes that occur among the labels. `macro_f1` depends on
    the class mix of the items, `macro_f1_uniform` is its value at equal class sizes.
    Raises ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    shares = np.asarray(prior, dtype=np.float64)
    if scores.shape[1] != len(label_ids) or shares.shape != (len(label_ids),):
        raise ValueError(f"{len(label_ids)} labels need as many logits and prior shares")
    answers = scores.argmax(axis=1)
    confusion = count_confusion(truth, answers, len(label_ids))
    adjusted = take_softmax(scores, shares).argmax(axis=1)
    result = {
        "label_ids": list(label_ids),
        "training_prior": shares.tolist(),
        **_state_headline(truth, answers, groups, len(label_ids), seed),
        "per_class": _describe_classes(confusion, label_ids),
        "groups": _describe_groups(confusion, label_ids, shares),
        "training_prior_answers": _describe_answers(
            count_confusion(truth, adjusted, len(label_ids)), label_ids
        ),
        **_measure_calibration(scores, truth, None, "uniform"),
        **_measure_calibration(scores, truth, shares, "training"),
        "confusion": confusion.tolist(),
    }
    if recurring is not None and not recurring.all():
        kept = None if groups is None else groups[~recurring]
        result["without_recurring"] = _state_headline(
            truth[~recurring], answers[~recurring], kept, len(label_ids), seed
        )
    if zero_shot is not None:
        untrained = zero_shot.argmax(axis=1)
        result["zero_shot"] = _state_headline(truth, untrained, groups, len(label_ids), seed)
    return result


def _state_headline(
    labels: Ints, answers: Ints, groups: Ints | None, classes: int, seed: int
) -> dict[str, Any]:
    """The figures that a line of a summary shows."""
    confusion = count_confusion(labels, answers, classes)
    intervals = (
        bootstrap_intervals(confusion, seed=seed)
        if groups is None
        else group_intervals(labels, answers, groups, classes, seed=seed)
    )
    return {
        "items": int(confusion.sum()),
        **summarize_confusion(confusion),
        "macro_f1_uniform": uniform_f1(confusion),
        "kappa": cohen_kappa(confusion),
        "intervals": intervals,
        "intervals_resample": "items" if groups is None else "groups",
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


def _describe_classes(confusion: Ints, label_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    precision, recall, f1 = class_scores(confusion)
    equal = class_scores(equalize_classes(confusion))[0]
    support = confusion.sum(axis=1)
    return {
        label_id: {
            "support": int(support[index]),
            "precision": float(precision[index]),
            "precision_uniform": float(equal[index]),
            "recall": float(recall[index]),
            "recall_interval": wilson_interval(int(confusion[index, index]), int(support[index])),
            "f1": float(f1[index]),
        }
        for index, label_id in enumerate(label_ids)
    }


def _describe_answers(confusion: Ints, label_ids: Sequence[str]) -> dict[str, Any]:
    """Averages, and recall and precision of each class, under another prior than the headline's."""
    precision, recall, _ = class_scores(confusion)
    return {
        **summarize_confusion(confusion),
        "per_class": {
            label_id: {"recall": float(recall[index]), "precision": float(precision[index])}
            for index, label_id in enumerate(label_ids)
        },
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
    scores: Floats, labels: Ints, prior: Floats | None, name: str
) -> dict[str, Any]:
    probabilities = take_softmax(scores, prior)
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
