"""What a confusion matrix says: averages, chance-corrected agreement, intervals.

Rows are true classes, columns predicted ones. Macro averages run over the classes that
occur among the true ones.
"""

import numpy as np
from numpy.typing import NDArray

from training.statistics.probabilities import Floats, Ints

RESAMPLES = 2000


def count_confusion(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """Counts of (true class, predicted class), shape (classes, classes)."""
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
    """Accuracy, macro recall, precision and F1 of one confusion matrix."""
    return {name: float(value) for name, value in summarize_confusions(confusion).items()}


def uniform_f1(confusion: Ints) -> float:
    """Macro F1 that the same recalls and confusions give when all classes are equally frequent."""
    return float(summarize_confusions(equalize_classes(confusion))["macro_f1"])


def equalize_classes(confusion: Ints) -> Floats:
    """The confusion matrix as it is when all classes are equally frequent: shares of each row."""
    return _divide(confusion.astype(np.float64), confusion.sum(axis=1, keepdims=True))


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
    summaries = summarize_confusions(np.stack(rows, axis=1))
    return {
        name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in summaries.items()
    }


def summarize_confusions(confusion: NDArray[np.number]) -> dict[str, Floats]:
    """For one confusion matrix or a stack of them (..., classes, classes)."""
    precision, recall, f1 = class_scores(confusion)
    support = confusion.sum(axis=-1)
    occurring = support > 0
    classes = np.maximum(occurring.sum(axis=-1), 1)
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return {
        "accuracy": hits / support.sum(axis=-1),
        "macro_recall": (recall * occurring).sum(axis=-1) / classes,
        "macro_precision": (precision * occurring).sum(axis=-1) / classes,
        "macro_f1": (f1 * occurring).sum(axis=-1) / classes,
    }


def _divide(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> Floats:
    quotient: Floats = np.divide(
        numerator,
        denominator,
        out=np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape)),
        where=np.asarray(denominator) > 0,
    )
    return quotient
