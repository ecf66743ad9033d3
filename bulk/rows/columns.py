"""Which column of the input is what, and which columns are added."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from contract.manifest import Task
from tables.errors import FileError

FIELDS = {
    "label": pa.string(),
    "confidence": pa.float32(),
    "needs_review": pa.bool_(),
    "prediction_set": pa.list_(pa.string()),
    "was_cut": pa.bool_(),
    "error": pa.string(),
    "model": pa.string(),
}
"""Columns of every task; behind them stands the probability of each label. float32 is what the
engine computes with."""


class Columns(NamedTuple):
    """Which columns hold what is labelled."""

    text: str
    speaker: str | None = None
    """Of turns alone, as the next two."""
    dialogue: str | None = None
    """Rows with the same value are one dialogue; None: all rows of a file are."""
    order: str | None = None
    """Numbers that say which turn of a dialogue came first; None: the rows stand in order."""

    def list_named(self) -> list[str]:
        """Those that a file must have."""
        return [name for name in self if name is not None]


def name_probability(label: str) -> str:
    """The column with the probability of a label, before the prefix."""
    return f"p_{label}"


def make_fields(task: Task, prefix: str) -> list[pa.Field]:
    """The columns that are added to each row, in order."""
    fields = [pa.field(prefix + name, kind) for name, kind in FIELDS.items()]
    names = [name_probability(label) for label in task.label_set.ids]
    return fields + [pa.field(prefix + name, pa.float32()) for name in names]


def check_header(file: str, header: Sequence[str], columns: Columns, added: Sequence[str]) -> None:
    """FileError for a file that lacks a column, or has one already that would be added."""
    for name in columns.list_named():
        if name not in header:
            raise FileError(f"{file}: has no column {name}")
    for name in added:
        if name in header:
            raise FileError(f"{file}: has a column {name} already; choose another --prefix")
