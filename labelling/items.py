"""From the rows of a table to what the service classifies."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from contract.inputs import Kind, Speaker, Turn
from contract.interaction import DialogueMode, cut_windows
from contract.prompts import ContextWindow
from tables.errors import FileError
from tables.speakers import assign_speakers
from tables.table import Row, Table, spell

_SHOWN = 5  # unknown names in a message
_MOST_NAMES = 10_000  # of speakers; a column with more holds something else


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
    """Who is who: names as the file has them, once `check_rows` has seen them; those that the
    command was told, in lower case, before."""
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


def check_rows(table: Table, reading: Reading) -> tuple[int, Reading]:
    """Read all rows once and return how many there are, and the reading with who is who.

    FileError for what is wrong with them.
    """
    _check_columns(table, reading)
    names: dict[str, int] = {}
    count = texts = 0
    for count, row in enumerate(table.rows(), 1):  # noqa: B007
        text = read_text(table, row, reading.columns.text)
        texts += bool(text)
        if reading.kind == "dialogue-turn" and text:
            names.setdefault(read_text(table, row, reading.columns.speaker), row.line)
            if len(names) > _MOST_NAMES:
                raise FileError(
                    f"{table.path}: column {reading.columns.speaker} has more than "
                    f"{_MOST_NAMES:,} names; say with --speaker which one says who speaks"
                )
    if not count:
        raise FileError(f"{table.path}: has no rows")
    if not texts:
        raise FileError(
            f"{table.path}: no row has a text in {reading.columns.text}; name its column with "
            "--text"
        )
    speakers = assign_speakers(names, reading.speakers)
    _check_speakers(table, reading, {name: names[name] for name in names if name not in speakers})
    return count, reading._replace(speakers=speakers)


def _check_speakers(table: Table, reading: Reading, unknown: Mapping[str, int]) -> None:
    if unknown:
        names = ", ".join(
            f"{repr(name) if name else 'nothing'} (line {line})"
            for name, line in itertools.islice(unknown.items(), _SHOWN)
        )
        raise FileError(
            f"{table.path}: column {reading.columns.speaker} says who speaks, and has {names}; say "
            "which they are with --teacher NAME and --student NAME"
        )


def find_dialogue(row: Row, reading: Reading) -> Any:
    """What names the dialogue of a row; None if the file is one."""
    column = reading.columns.dialogue
    return row.values.get(column) if column else None


def find_speaker(table: Table, row: Row, reading: Reading) -> Speaker | None:
    """Who speaks in a row; None if the name is not known."""
    return reading.speakers.get(read_text(table, row, reading.columns.speaker))


def read_text(table: Table, row: Row, column: str) -> str:
    """A cell without the space around it; empty where the row has none."""
    value = row.values.get(column)
    if value is None:
        return ""
    if not isinstance(value, str) and table.format in ("jsonl", "json"):
        raise FileError(f"{table.place(row.line)}: {column} must be a text")
    return (spell(value) or "").strip()


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
