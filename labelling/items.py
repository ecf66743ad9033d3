"""From the rows of a table to what the service classifies."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from contract.inputs import Kind, Speaker, Turn
from contract.interaction import DialogueMode, cut_windows
from contract.prompts import ContextWindow
from tables.errors import FileError
from tables.table import Row, Table

SPEAKERS: Mapping[str, Speaker] = MappingProxyType({
    **dict.fromkeys(("teacher", "tutor", "t", "老师", "教师", "师"), "teacher"),
    **dict.fromkeys(("student", "pupil", "s", "ss", "学生", "同学", "生"), "student"),
})  # fmt: skip
"""How transcripts name the two; case does not matter."""
_SHOWN = 5  # unknown names in a message


class Columns(NamedTuple):
    """Which columns hold what is classified."""

    text: str = "text"
    speaker: str = "speaker"
    dialogue: str | None = None
    """Rows that follow one another with the same value are one dialogue; None: all rows are."""


class Reading(NamedTuple):
    """How rows become items."""

    kind: Kind
    columns: Columns
    speakers: Mapping[str, Speaker]
    window: ContextWindow
    mode: DialogueMode


def make_items(table: Table, reading: Reading) -> Iterator[dict[str, Any] | None]:
    """Yield for each row the JSON of its item, or None where its text is empty.

    A row without text is no turn: those around it are read as neighbours.
    """
    if reading.kind == "problem":
        for row in table.rows():
            text = read_text(table, row, reading.columns.text)
            yield {"text": text} if text else None
        return
    for _, rows in itertools.groupby(table.rows(), lambda row: find_dialogue(row, reading)):
        yield from _make_turns(table, rows, reading)


def check_rows(table: Table, reading: Reading) -> int:
    """Read all rows once and return how many there are; FileError for what is wrong with them."""
    _check_columns(table, reading)
    unknown: dict[str, int] = {}
    count = texts = 0
    for count, row in enumerate(table.rows(), 1):  # noqa: B007
        text = read_text(table, row, reading.columns.text)
        texts += bool(text)
        if reading.kind == "dialogue-turn" and text and not find_speaker(table, row, reading):
            unknown.setdefault(read_text(table, row, reading.columns.speaker), row.line)
    if unknown:
        names = ", ".join(
            f"{repr(name) if name else 'nothing'} (line {line})"
            for name, line in itertools.islice(unknown.items(), _SHOWN)
        )
        raise FileError(
            f"{table.path}: column {reading.columns.speaker} says who speaks, and has {names}; say "
            "which they are with --teacher NAME and --student NAME"
        )
    if not count:
        raise FileError(f"{table.path}: has no rows")
    if not texts:
        raise FileError(
            f"{table.path}: no row has a text in {reading.columns.text}; name its column with "
            "--text"
        )
    return count


def find_dialogue(row: Row, reading: Reading) -> Any:
    """What names the dialogue of a row; None if the file is one."""
    column = reading.columns.dialogue
    return row.values.get(column) if column else None


def find_speaker(table: Table, row: Row, reading: Reading) -> Speaker | None:
    """Who speaks in a row; None if the name is not known."""
    return reading.speakers.get(read_text(table, row, reading.columns.speaker).casefold())


def read_text(table: Table, row: Row, column: str) -> str:
    """A cell without the space around it; empty where the row has none."""
    value = row.values.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FileError(f"{table.path}:{row.line}: {column} must be a text")
    return value.strip()


def _make_turns(
    table: Table, rows: Iterable[Row], reading: Reading
) -> Iterator[dict[str, Any] | None]:
    columns = reading.columns
    turns: list[Turn | None] = []
    for row in rows:
        text = read_text(table, row, columns.text)
        speaker = find_speaker(table, row, reading)
        turns.append(Turn(speaker=speaker, text=text) if text and speaker else None)
    spoken = [turn for turn in turns if turn]
    windows = iter(cut_windows(spoken, reading.window, reading.mode))
    for turn in turns:
        yield None if turn is None else next(windows).model_dump(mode="json")


def _check_columns(table: Table, reading: Reading) -> None:
    columns = reading.columns
    wanted = {"text": columns.text}
    if reading.kind == "dialogue-turn":
        wanted["speaker"] = columns.speaker
        if columns.dialogue:
            wanted["dialogue"] = columns.dialogue
    for option, column in wanted.items():
        if column not in table.header:
            raise FileError(
                f"{table.path}:1: no column {column}; name one of these with --{option}: "
                f"{', '.join(table.header)}"
            )
