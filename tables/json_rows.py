"""JSON lines of any size, and arrays of objects.

An object is written as it was read, to the byte, with our fields before its last brace.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tables.encoding import Encoding, mark, open_text, recognise_encoding
from tables.errors import FileError
from tables.table import Format, Limits, Row, Table, check_size
from tables.whole_file import open_whole

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


class JsonTable(Table):
    """Objects; the header holds the fields of all of them, in the order they turn up."""

    def __init__(self, path: Path, format: Format, encoding: Encoding, limits: Limits) -> None:
        self.path, self.format, self.encoding = path, format, encoding.name
        self._encoding, self._limits = encoding, limits
        self._text = "" if format == "jsonl" else self._read_whole()
        names: dict[str, None] = {}
        count = cells = 0
        for count, (_, content, _) in enumerate(self._read(), 1):
            names.update(dict.fromkeys(content))
            cells += len(content)
            check_size(self, limits, rows=count, columns=len(names), whole=False)
        check_size(self, limits, rows=1, columns=0 if format == "jsonl" else cells, whole=True)
        self.header = tuple(names)
        if not count:
            raise FileError(f"{path}: has no rows")

    @classmethod
    def open(
        cls,
        path: Path,
        format: Format,
        *,
        encoding: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> "JsonTable":
        """Read all once. FileError names file, line and reason of what is wrong."""
        return cls(path, format, recognise_encoding(path, encoding), limits)

    def rows(self) -> Iterator[Row]:
        for line, content, source in self._read():
            cells = [content.get(name) for name in self.header]
            yield Row(line, content, cells, source)

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        count = end = 0
        with open_whole(path, encoding=self.encoding) as file:
            file.write(mark(self._encoding))
            for count, (row, values) in enumerate(rows, 1):  # noqa: B007
                start, stop, text = row.source
                fields = dict(zip(added, values, strict=True))
                file.write(self._text[end:start])
                file.write(_add_fields(text, dict(row.values), fields, self.encoding))
                end = stop
            file.write(self._text[end:])
        return count

    def _read(self) -> Iterator[tuple[int, dict[str, Any], tuple[int, int, str]]]:
        """Line, content, and how the file spells it: begin, end and text."""
        return self._read_lines() if self.format == "jsonl" else self._read_array()

    def _read_lines(self) -> Iterator[tuple[int, dict[str, Any], tuple[int, int, str]]]:
        # newline: a text of JSON may hold other separators.
        with open_text(self.path, self._encoding, newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, self._parse(line, number), (0, 0, line)

    def _read_array(self) -> Iterator[tuple[int, dict[str, Any], tuple[int, int, str]]]:
        text, place = self._text, _skip_space(self._text, 0)
        if text[place : place + 1] != "[":
            raise FileError(f"{self.path}: must be an array of objects, or one object a line")
        place = _skip_space(text, place + 1)
        line, counted = 1, 0
        while text[place : place + 1] not in ("]", ""):
            line, counted = line + text.count("\n", counted, place), place
            content, end = self._parse_element(line, place)
            yield line, content, (place, end, text[place:end])
            place = _skip_space(text, end)
            if text[place : place + 1] == ",":
                place = _skip_space(text, place + 1)
            elif text[place : place + 1] != "]":
                raise FileError(f"{self.path}:{line}: not JSON: a comma is missing behind this row")
        if not text[place:].strip().startswith("]"):
            raise FileError(f"{self.path}: not JSON: its end is missing")

    def _parse_element(self, line: int, place: int) -> tuple[dict[str, Any], int]:
        try:
            content, end = _DECODER.raw_decode(self._text, place)
        except json.JSONDecodeError as error:
            raise FileError(f"{self.path}:{error.lineno}: not JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise FileError(
                f"{self.path}:{line}: JSON that is nested or long beyond use"
            ) from error
        return self._check_object(content, line), end

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileError(f"{self.path}:{number}: not JSON: {error}") from error
        except (ValueError, RecursionError) as error:
            raise FileError(
                f"{self.path}:{number}: JSON that is nested or long beyond use"
            ) from error
        return self._check_object(content, number)

    def _check_object(self, content: Any, line: int) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise FileError(f"{self.path}:{line}: must be a JSON object, a row of the table")
        return content

    def _read_whole(self) -> str:
        size = self.path.stat().st_size
        if size > self._limits.unpacked_bytes:
            raise FileError(
                f"{self.path}: has {size:,} bytes, and a JSON array of at most "
                f"{self._limits.unpacked_bytes:,} is read; JSON lines can be of any size"
            )
        with open_text(self.path, self._encoding) as file:
            return file.read()


def write_json(
    path: Path, format: Format, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write a new file of objects, whole or not at all; returns how many rows."""
    count = 0
    is_array = format == "json"
    with open_whole(path) as file:
        file.write("[" if is_array else "")
        for count, cells in enumerate(rows, 1):
            line = _dump(dict(zip(header, cells, strict=True)), "utf-8")
            file.write(line if not is_array else (",\n" if count > 1 else "\n") + line)
            file.write("" if is_array else "\n")
        file.write("\n]\n" if is_array else "")
    return count


def _add_fields(text: str, content: dict[str, Any], fields: dict[str, Any], encoding: str) -> str:
    body = text.rstrip(_SPACE)
    tail = text[len(body) :]
    if not fields:
        return text
    if content.keys() & fields.keys():
        return _dump({**content, **fields}, encoding) + tail
    inside = body[:-1].rstrip(_SPACE)
    comma = ", " if content else ""
    return inside + comma + _dump(fields, encoding)[1:-1] + body[len(inside) :] + tail


def _dump(content: dict[str, Any], encoding: str) -> str:
    line = json.dumps(content, ensure_ascii=False, default=str)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:  # JSON can escape what no text may hold
        line = json.dumps(content, default=str)
    return line


def _skip_space(text: str, place: int) -> int:
    while text[place : place + 1] and text[place] in _SPACE:
        place += 1
    return place
