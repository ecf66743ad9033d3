"""From a batch of rows to what is classified: problems, or turns with their neighbours. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from bulk.rows.columns import Columns
from bulk.rows.dialogues import group_rows
from contract.inputs import AnyInput, Problem, Speaker, Turn
from contract.interaction import DialogueMode, cut_windows
from contract.prompts import ContextWindow
from tables.speakers import assign_speakers
from tables.table import spell

NO_TEXT = "the text is empty"
NO_SPEAKER = "who speaks is not known"


class Inputs(NamedTuple):
    """What the rows of a batch become, in the order of the rows."""

    items: list[AnyInput]
    """Of the rows without an error."""
    errors: list[str | None]
    """Of every row; None where there is an item."""


def make_problems(batch: pa.RecordBatch, columns: Columns) -> Inputs:
    """A problem of each row with a text."""
    texts = read_texts(batch.column(columns.text))
    items: list[AnyInput] = [Problem(text=text) for text in texts if text]
    return Inputs(items, [None if text else NO_TEXT for text in texts])


def make_turns(
    batch: pa.RecordBatch,
    columns: Columns,
    *,
    speakers: Mapping[str, Speaker],
    window: ContextWindow,
    mode: DialogueMode,
) -> Inputs:
    """A turn of each row, with those around it in its dialogue.

    A row without text, or by nobody known, is no turn: those around it are read as neighbours.
    `speakers` maps names in lower case.
    """
    texts = read_texts(batch.column(columns.text))
    assert columns.speaker is not None
    names = read_texts(batch.column(columns.speaker))
    found: dict[int, AnyInput] = {}
    errors: list[str | None] = [None if text else NO_TEXT for text in texts]
    for rows in group_rows(batch, columns):
        who = assign_speakers([names[row] for row in rows if texts[row]], speakers)
        spoken: list[int] = []
        for row in rows:
            if texts[row] and names[row] in who:
                spoken.append(row)
            elif texts[row]:
                errors[row] = NO_SPEAKER
        turns = [Turn(speaker=who[names[row]], text=texts[row]) for row in spoken]
        found.update(zip(spoken, cut_windows(turns, window, mode), strict=True))
    return Inputs([found[row] for row in sorted(found)], errors)


def read_texts(column: pa.Array) -> list[str]:
    """The cells without the space around them; empty where there is none."""
    return [_read_text(value) for value in column.to_pylist()]


def _read_text(value: Any) -> str:
    return (spell(value) or "").strip()
