"""Character n-grams and logistic regression: the bar to beat, and a teacher of another kind."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from contract.inputs import AnyInput, DialogueTurn, Turn
from training.statistics.probabilities import Floats, Ints

_UNKNOWN = -30.0  # the logit of a class that was never shown; finite, so that sums stay so


class NgramClassifier:
    """TF-IDF of character n-grams under multinomial logistic regression.

    Texts are read three times: as they are (1 to 4 characters), with every number replaced by
    its kind (1 to 5), and as their shape, of which no word is left (1 to 4). The target, what
    was said before it and what was said after have vocabularies of their own. `training/LOG.md`
    has what each of these is worth.
    """

    def __init__(self, items: Sequence[AnyInput], labels: Ints, classes: int) -> None:
        """Fit to `items` and their `labels` (items,), indices below `classes`."""
        self._vectorizer, matrix = _fit_vectorizer(items)
        self._regression = PriorFreeRegression(matrix, labels, classes)

    def predict_logits(self, items: Sequence[AnyInput]) -> Floats:
        """Logits (items, classes) that answer for a uniform prior."""
        if not len(items):
            return np.empty((0, self._regression.classes))
        return self._regression.predict_logits(
            csr_matrix(self._vectorizer.transform(_split_fields(items)))
        )


class PriorFreeRegression:
    """Multinomial logistic regression whose answers are for a uniform prior.

    The classes are not weighed; the logarithm of their prior is subtracted instead, as in logit
    adjustment (Menon et al., ICLR 2021).
    """

    def __init__(self, matrix: csr_matrix, labels: Ints, classes: int) -> None:
        """Fit to rows (items, n-grams) and their `labels` (items,), indices below `classes`."""
        self.classes = classes
        self._model = LogisticRegression(C=4.0, max_iter=300, tol=1e-3).fit(matrix, labels)
        counts = np.bincount(labels, minlength=classes)[self._model.classes_]
        self.log_prior: Floats = np.full(classes, _UNKNOWN)
        """(classes,): what is subtracted; added again, answers are for the mix of the labels."""
        self.log_prior[self._model.classes_] = np.log(counts / counts.sum())

    def predict_logits(self, matrix: csr_matrix) -> Floats:
        """Logits (items, classes) that answer for a uniform prior."""
        logits = np.full((matrix.shape[0], self.classes), _UNKNOWN)
        shown = self._model.classes_
        known = self._model.predict_log_proba(matrix) - self.log_prior[shown]
        logits[:, shown] = np.maximum(known, _UNKNOWN)
        return logits


def vectorize_items(items: Sequence[AnyInput]) -> csr_matrix:
    """TF-IDF (items, n-grams) of items that are all at hand; no label is looked at."""
    return _fit_vectorizer(items)[1]


def _fit_vectorizer(items: Sequence[AnyInput]) -> tuple[ColumnTransformer, csr_matrix]:
    fields = _split_fields(items)
    vectorizer = ColumnTransformer(
        [
            (f"{column}/{reading.__name__}", _vectorize(reading, longest), column)
            for column in range(fields.shape[1])
            if any(fields[:, column])
            for reading, longest in ((fold_forms, 4), (mask_numbers, 5), (keep_shape, 4))
        ]
    )
    return vectorizer, csr_matrix(vectorizer.fit_transform(fields))


def fold_forms(text: str) -> str:
    """Full-width forms as ASCII, small letters, one blank for many."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"\s+", " ", re.sub(r"_+", "_", folded))


def mask_numbers(text: str) -> str:
    """Every number by its kind: 0 a decimal, 1 one digit, 2 two or three, 4 four, 5 more."""
    return re.sub(r"\d+(\.\d+)?", _name_kind, fold_forms(text))


def keep_shape(text: str) -> str:
    """Kinds of numbers, Latin letters, signs and blanks; what stands between them is one #."""
    return re.sub(r"[^\x20-\x7e×÷°π√≈≠≤≥]+", "#", mask_numbers(text))


def _name_kind(number: re.Match[str]) -> str:
    kinds = {1: "1", 2: "2", 3: "2", 4: "4"}
    return "0" if number[1] else kinds.get(len(number[0]), "5")


def _vectorize(reading: Callable[[str], str], longest: int) -> TfidfVectorizer:
    return TfidfVectorizer(
        preprocessor=reading, analyzer="char", ngram_range=(1, longest), sublinear_tf=True, min_df=2
    )


def _split_fields(items: Sequence[AnyInput]) -> NDArray[np.object_]:
    """Target (a turn with its speaker), what was said before it, and after it: (items, 3)."""
    rows = np.empty((len(items), 3), dtype=object)
    for place, item in enumerate(items):
        if isinstance(item, DialogueTurn):
            rows[place] = _join([item]), _join(item.previous), _join(item.following)
        else:
            rows[place] = item.text, "", ""
    return rows


def _join(turns: Iterable[Turn]) -> str:
    return "".join(f"{turn.speaker[0]}:{turn.text}" for turn in turns)
