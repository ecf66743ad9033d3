"""Texts that recur: an item whose text was in training says less about new texts."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.inputs import AnyInput


def normalize_text(text: str) -> str:
    """What is compared: letters and digits only, in Unicode's compatibility form (NFKC).

    A text without any (`？！`) is left as it is, for all of those are not one text.
    """
    kept = "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum())
    return kept or text


def find_recurring(
    items: Sequence[AnyInput], training_items: Iterable[AnyInput]
) -> NDArray[np.bool_]:
    """Which items (n,) have a text that also occurs among the training items.

    Of a dialogue turn only its own text counts: short answers ("对") recur in every
    dialogue, and leaving them all out is the strict reading.
    """
    known = {normalize_text(item.text) for item in training_items}
    return np.array([normalize_text(item.text) in known for item in items], dtype=np.bool_)
