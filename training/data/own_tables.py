"""Labelled examples in tables of any form: CSV, TSV, XLSX, Parquet, JSON lines or a JSON array.

Which column is what is recognised (`tables.layouts`) as far as the recipe does not say it.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contract.inputs import Kind, Problem, Turn
from tables.dialogues import expand_dialogues
from tables.errors import FileError
from tables.files import SUFFIXES, open_table
from tables.layouts import ColumnMapping, recognise_layout
from tables.speakers import assign_speakers
from tables.table import Row, Table, spell
from training.data.records import Record, place_turn, validate
from training.errors import BadInput
from training.recipe.recipe import LabelledFile

_SAMPLE = 200


class OwnTable(NamedTuple):
    """A table with its rows and the roles of its columns."""

    table: Table
    columns: ColumnMapping
    rows: list[Row]
    is_expanded: bool = False
    """Whether a row of the file is several turns: then the columns are not the file's own."""


def open_own_table(source: LabelledFile) -> OwnTable:
    """Read a table whole; BadInput names file, row and reason."""
    try:
        table = open_table(source.path)
        sample = [row.cells for row in itertools.islice(table.rows(), _SAMPLE)]
        columns = _apply(source, recognise_layout(table.header, sample), table)
        expanded, columns = expand_dialogues(table, columns)
        return OwnTable(expanded, columns, list(expanded.rows()), expanded is not table)
    except FileError as error:
        raise BadInput(str(error)) from error


def find_conversations(path: Path) -> Kind | None:
    """The kind of input in a JSON file of `{"conversation": [message, …], "label"}`.

    Messages that a teacher and a student exchange are a dialogue, one message is a problem. None
    for a file of another form; BadInput for one that cannot be read.
    """
    try:
        if SUFFIXES.get(path.suffix.lower()) not in ("json", "jsonl"):
            return None
        table = open_table(path)
        if "conversation" not in table.header:
            return None
        rows = itertools.islice(table.rows(), _SAMPLE)
        sample = [row.values.get("conversation") for row in rows]
    except FileError as error:
        raise BadInput(str(error)) from error
    counts = [
        sum(1 for each in messages if isinstance(each, dict) and each.get("role") != "system")
        for messages in sample
        if isinstance(messages, list)
    ]
    if not counts:
        return None
    return "dialogue-turn" if max(counts) > 1 else "problem"


def read_table(source: LabelledFile, kind: Kind) -> Iterator[Record]:
    """Yield the records of a table; BadInput as `open_own_table`, or for a missing column."""
    return read_own_table(open_own_table(source), kind)


def read_own_table(own: OwnTable, kind: Kind) -> Iterator[Record]:
    """The same of a table that was read; BadInput for a missing column."""
    if own.columns.label is None:
        raise BadInput(
            f"{own.table.path}: no column is called label, class or the like; name it with "
            f"columns.label (--label); there are: {', '.join(own.table.header)}"
        )
    return _read_problems(own) if kind == "problem" else _read_turns(own)


def _read_problems(own: OwnTable) -> Iterator[Record]:
    for row in own.rows:
        place = own.table.place(row.line)
        label = _read(row, own.columns.label)
        if label is None:
            raise BadInput(f"{place}: has no label; fill it in, or take the row out")
        problem = validate(place, Problem, {"text": _read(row, own.columns.text) or ""})
        yield Record(place, _read(row, "id") or str(row.line), problem, label, row.line)


def _read_turns(own: OwnTable) -> Iterator[Record]:
    """A turn without a label is context; without a column for dialogues the file is one."""
    columns = own.columns
    if columns.speaker is None:
        raise BadInput(f"{own.table.path}: no column says who speaks; name it: columns.speaker")
    speakers = assign_speakers(_read(row, columns.speaker) or "" for row in own.rows)
    for _, group in itertools.groupby(own.rows, key=lambda row: _read(row, columns.dialogue)):
        rows = list(group)
        turns = [_make_turn(own, row, speakers) for row in rows]
        for index, row in enumerate(rows):
            if label := _read(row, columns.label):
                place = own.table.place(row.line)
                item = place_turn(turns, index)
                record_id = _read(row, "id") or str(row.line)
                yield Record(place, record_id, item, label, row.line)


def _make_turn(own: OwnTable, row: Row, speakers: dict[str, Any]) -> Turn:
    name = _read(row, own.columns.speaker) or ""
    place = own.table.place(row.line)
    if name not in speakers:
        raise BadInput(f"{place}: whether teacher or student speaks cannot be told from the name")
    fields = {"speaker": speakers[name], "text": _read(row, own.columns.text) or ""}
    return validate(place, Turn, fields)


def _apply(source: LabelledFile, found: ColumnMapping, table: Table) -> ColumnMapping:
    """What the recipe says goes before what was recognised."""
    named = {key: name for key, name in source.columns.model_dump().items() if name is not None}
    if missing := [name for name in named.values() if name not in table.header]:
        raise BadInput(
            f"{source.path}: has no column {', '.join(missing)}; there are: "
            f"{', '.join(table.header)}"
        )
    if not named:
        return found
    changed = found._replace(**named, layout=None, is_guess=False)
    return changed._replace(kind="turns" if changed.speaker else "problems")


def _read(row: Row, column: str | None) -> str | None:
    """A cell as text without space around it; None where there is nothing."""
    value = None if column is None else spell(row.values.get(column))
    return (value or "").strip() or None
