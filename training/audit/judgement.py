"""What a model says of labels that it never saw: here n-grams, fitted to other rows."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from training.audit.rows import Rows
from training.errors import BadInput
from training.models.ngrams import PriorFreeRegression, vectorize_items
from training.statistics.conformal import cross_fit_views
from training.statistics.probabilities import Floats, Ints, take_softmax


class Judgement(NamedTuple):
    """What models say of each row."""

    probabilities: Floats
    """(n, K), for the class mix of the rows."""
    judged: Ints
    """Places of the rows that could be judged."""
    source: str
    """Whose judgement it is."""
    caution: str
    """What makes it evidence, for the summary."""
    unjudged: str = "no other text has this label"
    """Why the others could not be judged."""


def judge_by_ngrams(rows: Rows, labels: Ints, matrix: csr_matrix) -> Judgement:
    """Fit n-grams to the other folds' `labels` (n,); `matrix` is that of `vectorize`.

    A row cannot be judged if the other folds have no row with its label.
    """
    classes = len(rows.names)
    logits = np.empty((len(labels), classes))
    judged = np.zeros(len(labels), dtype=np.bool_)
    for fold in np.unique(rows.folds):
        held_out = rows.folds == fold
        known = np.bincount(labels[~held_out], minlength=classes) > 0
        if known.sum() < 2:
            raise BadInput(
                f"{rows.task}: all rows of but one label share text, so that nothing can be "
                "learned from the others; add rows of other texts"
            )
        model = PriorFreeRegression(matrix[~held_out], labels[~held_out], classes)
        logits[held_out] = model.predict_logits(matrix[held_out])
        judged[held_out] = known[labels[held_out]]
    prior = np.bincount(labels, minlength=classes) / len(labels)
    return Judgement(
        calibrate(logits, labels, prior, rows.folds),
        np.flatnonzero(judged),
        "n-grams",
        "each row was judged by n-grams that had seen neither its label nor what shares its text",
    )


def vectorize(rows: Rows) -> csr_matrix:
    """The rows' n-grams; labels are not looked at."""
    return vectorize_items([example.item for example in rows.examples])


def calibrate(logits: Floats, labels: Ints, prior: Floats, folds: Ints) -> Floats:
    """Probabilities for the mix of the rows; what calibrates a row comes from other folds."""
    views = cross_fit_views({"": logits}, labels, prior, folds=len(np.unique(folds)), places=folds)
    return take_softmax(views[""].logits, np.maximum(prior, np.finfo(np.float64).tiny))
