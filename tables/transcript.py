"""Plain transcripts, `师：…`, `T: …` or `Name: text`, a turn a line; and turns within a cell.

A line without a name goes on with the turn before it. What we add stands behind a tab in square
brackets at the end of a turn, and is not read as a part of it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tables.encoding import Encoding, mark, open_text, recognise_encoding
from tables.errors import FileError
from tables.table import Limits, Row, Table, check_size, map_cells, spell
from tables.whole_file import open_whole

_TURN = re.compile(
    r"(?:\[[\d:., >-]+\]\s*)?(?!\d+\s*[:：])"
    r"([^\s:：\[\]](?:[^:：\t]{0,38}[^\s:：])?)\s*+[:：](?!//)\s*(.*)"
)
"""A stamp of time in brackets may stand before the name, which is no number. It reads a line of
nothing but spaces once: lines come from strangers too."""
_NOTE = re.compile(r"\t\[[^\t]*\]$")
HEADER = ("speaker", "text")


class Turn(NamedTuple):
    """Who says what."""

    speaker: str
    text: str


def split_turn(line: str) -> Turn | None:
    """The turn of a line; None if no name stands in front."""
    found = _TURN.fullmatch(line.strip())
    return Turn(found[1], found[2]) if found else None


def read_turns(text: str) -> list[Turn] | None:
    """The turns of a transcript; None where a line stands before the first with who speaks."""
    turns: list[Turn] = []
    for _, turn, _ in _group_lines(text.splitlines(keepends=True)):
        if turn is None:
            return None
        turns.append(turn)
    return turns


class TranscriptTable(Table):
    """Turns with the columns speaker and text."""

    format = "transcript"
    header = HEADER

    def __init__(self, path: Path, encoding: Encoding, limits: Limits) -> None:
        self.path, self.encoding = path, encoding.name
        self._encoding, self._limits = encoding, limits
        if next(self._read(), None) is None:
            raise FileError(f"{path}: is empty; a transcript has a turn a line, as `T: …`")

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        encoding: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> "TranscriptTable":
        """FileError names file, line and reason of what is wrong."""
        return cls(path, recognise_encoding(path, encoding), limits)

    def rows(self) -> Iterator[Row]:
        for count, (line, turn, lines) in enumerate(self._read(), 1):
            check_size(self, self._limits, rows=count, columns=2, whole=False)
            yield Row(line, map_cells(HEADER, turn), list(turn), lines)

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        count = 0
        with open_whole(path, encoding=self.encoding) as file:
            file.write(mark(self._encoding))
            for count, (row, values) in enumerate(rows, 1):  # noqa: B007
                text: str = row.source
                body = text.rstrip()
                file.write(_NOTE.sub("", body) + _make_note(added, values) + text[len(body) :])
        return count

    def _read(self) -> Iterator[tuple[int, Turn, str]]:
        """Line, turn, and its lines as they are, with the empty ones before it."""
        with open_text(self.path, self._encoding) as file:
            for number, turn, source in _group_lines(file):
                if turn is None:
                    raise FileError(
                        f"{self.path}:{number}: no speaker stands before this line; a transcript "
                        "has a turn a line, as `T: …` or `师：…`"
                    )
                yield number, turn, source


def _group_lines(lines: Iterable[str]) -> Iterator[tuple[int, Turn | None, str]]:
    """Number of its first line, turn, and its lines as they are; at last no turn for a line that
    stands before the first one."""
    first, speaker, said, source = 0, "", [""], [""]
    for number, line in enumerate(lines, 1):
        content = _NOTE.sub("", line.rstrip())
        found = split_turn(content)
        if found:
            if speaker:
                yield first, _join(speaker, said), "".join(source)
                source = []
            first, speaker, said = number, found.speaker, [found.text]
        elif speaker:
            said.append(content.strip())
        elif line.strip():
            yield number, None, line
            return
        source.append(line)
    if speaker:
        yield first, _join(speaker, said), "".join(source)


def _join(speaker: str, said: Sequence[str]) -> Turn:
    return Turn(speaker, "\n".join(filter(None, said)))


def write_transcript(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a new transcript of rows whose first two columns are speaker and text."""
    count = 0
    if tuple(header[:2]) != HEADER:
        raise FileError("a transcript has the columns speaker and text; choose another format")
    with open_whole(path) as file:
        for count, (speaker, text, *values) in enumerate(rows, 1):  # noqa: B007
            line = f"{spell(speaker) or ''}: {(spell(text) or '')}".replace("\n", " ")
            file.write(line + _make_note(header[2:], values) + "\n")
    return count


def _make_note(added: Sequence[str], values: Sequence[Any]) -> str:
    parts = [
        f"{name}: {text}"
        for name, value in zip(added, values, strict=True)
        if (text := re.sub(r"[\t\r\n\]]", " ", spell(value) or ""))
    ]
    return "\t[" + "; ".join(parts) + "]" if parts else ""
