"""CSV and TSV of any size, a row at a time.

A row is written as it was read, to the byte, with our cells behind it: quotes, line breaks, a
byte-order mark and the encoding stay.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tables.encoding import Encoding, mark, open_text, recognise_encoding
from tables.errors import FileError
from tables.table import Format, Limits, Row, Table, check_size, map_cells, neutralise, spell
from tables.whole_file import open_whole

DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
_OTHERS = ",;\t|"
"""What stands between cells in files called CSV; of two that are as frequent the first."""


class DelimitedTable(Table):
    """A header and rows of texts."""

    def __init__(
        self, path: Path, format: Format, encoding: Encoding, delimiter: str, limits: Limits
    ) -> None:
        self.path, self.format, self.delimiter = path, format, delimiter
        self.encoding = encoding.name
        self._encoding, self._limits = encoding, limits
        first = next(self._read(), None)
        if first is None:
            raise FileError(f"{path}: is empty; its first line must name the columns")
        _, self.header, self._header_source = first
        check_size(self, limits, rows=0, columns=len(self.header), whole=False)
        if encoding.name not in ("utf-8", "utf-16-le", "utf-16-be"):
            self.notes = (f"read as {encoding.name.upper()}",)

    @classmethod
    def open(
        cls,
        path: Path,
        format: Format,
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> "DelimitedTable":
        """Read the header. FileError names what is wrong with the file or the options."""
        # A cell may be as long as the service's longest text; the module's own limit is less.
        csv.field_size_limit(sys.maxsize)
        found = recognise_encoding(path, encoding)
        if delimiter is None and format == "csv":
            delimiter = _recognise_delimiter(path, found)
        return cls(path, format, found, delimiter or DELIMITERS[format], limits)

    def rows(self) -> Iterator[Row]:
        width = len(self.header)
        lines = self._read()
        next(lines)
        for count, (line, cells, source) in enumerate(lines, 1):
            if len(cells) > width:
                raise FileError(
                    f"{self.path}:{line}: has {len(cells)} cells and the header {width}; "
                    "check quotes and --delimiter"
                )
            check_size(self, self._limits, rows=count, columns=0, whole=False)
            cells += [""] * (width - len(cells))
            yield Row(line, map_cells(self.header, cells), cells, source)

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        count = 0
        with open_whole(path, encoding=self.encoding) as file:
            file.write(mark(self._encoding) + self._extend(self._header_source, 0, added))
            for count, (row, values) in enumerate(rows, 1):  # noqa: B007
                missing = len(self.header) - row.source[1]
                file.write(self._extend(row.source, missing, values))
        return count

    def _extend(self, source: tuple[str, int], missing: int, values: Sequence[Any]) -> str:
        text = source[0]
        body = text.rstrip("\r\n")
        assert self.delimiter is not None
        cells = _join([""] * missing + [_protect(value) for value in values], self.delimiter)
        return body + self.delimiter + cells + text[len(body) :] if values else text

    def _read(self) -> Iterator[tuple[int, list[str], tuple[str, int]]]:
        """Line, cells, and how the file spells them: the text with its end, and how many."""
        assert self.delimiter is not None
        taken: list[str] = []

        def take(lines: Iterable[str]) -> Iterator[str]:
            for line in lines:
                taken.append(line)
                yield line

        with open_text(self.path, self._encoding) as file:
            try:
                reader = csv.reader(take(file), delimiter=self.delimiter, strict=True)
            except TypeError as error:
                raise FileError(f"--delimiter {self.delimiter!r}: must be one character") from error
            try:
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells, ("".join(taken), len(cells))
                        taken.clear()
            except csv.Error as error:
                raise FileError(f"{self.path}:{reader.line_num}: not CSV: {error}") from error


def write_delimited(
    path: Path, format: Format, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write a new file, whole or not at all; returns how many rows.

    With a byte-order mark, without which spreadsheets take UTF-8 for something else.
    """
    count = 0
    delimiter = DELIMITERS[format]
    with open_whole(path) as file:
        file.write("\ufeff" + _join(list(map(_protect, header)), delimiter) + "\n")
        for count, cells in enumerate(rows, 1):  # noqa: B007
            file.write(_join(list(map(_protect, cells)), delimiter) + "\n")
    return count


def _join(cells: Sequence[str], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="").writerow(cells)
    return buffer.getvalue()


def _protect(value: Any) -> str:
    text = spell(value) or ""
    return neutralise(text) if isinstance(value, str | list) else text


def _recognise_delimiter(path: Path, encoding: Encoding) -> str:
    """The most frequent one of the first line, outside quotes."""
    with open_text(path, encoding) as file:
        line = file.readline(1 << 20)
    outside = "".join(line.split('"')[::2])
    return max(_OTHERS, key=outside.count)
