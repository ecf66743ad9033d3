"""Tables of any size, a row at a time: CSV, TSV and JSON lines, read and written alike.

What a file holds beside the labels stays as it is: columns, their order, delimiter,
encoding and byte-order mark.
"""

import codecs
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from tables.errors import FileError

JSON_LINES = (".jsonl", ".ndjson")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """Of the file, counted from 1; of a row over several lines the last."""
    values: Mapping[str, Any]
    """Column → value; of columns with the same name the first."""
    cells: Sequence[str] | None
    """As CSV has them; None in JSON lines."""


class Table(NamedTuple):
    """A file, and how it is written down."""

    path: Path
    encoding: str
    delimiter: str | None
    """None for JSON lines."""
    header: Sequence[str]
    """Names of the columns; of JSON lines those of the first row."""

    @classmethod
    def open(cls, path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> "Table":
        """Read the header. FileError names what is wrong with the file or the options."""
        suffix = path.suffix.lower()
        if suffix not in (*_DELIMITERS, *JSON_LINES):
            raise FileError(
                f"{path}: {suffix or 'no ending'} is none of .csv, .tsv, .jsonl; save it as one of "
                "them (from a spreadsheet: CSV UTF-8)"
            )
        try:
            encoding = codecs.lookup(encoding).name
            with path.open("rb") as file:
                if encoding == "utf-8" and file.read(3) == codecs.BOM_UTF8:
                    encoding = "utf-8-sig"
        except LookupError as error:
            raise FileError(f"--encoding {encoding}: unknown; try utf-8 or gb18030") from error
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror}") from error
        if suffix in JSON_LINES:
            table = cls(path, encoding, None, ())
            first = next(table.rows(), None)
            return table._replace(header=tuple(first.values) if first else ())
        # A cell may be as long as the service's longest text; the module's own limit is less.
        csv.field_size_limit(sys.maxsize)
        table = cls(path, encoding, delimiter or _DELIMITERS[suffix], ())
        header = next(table._read_cells(), None)
        if header is None:
            raise FileError(f"{path}: is empty; its first line must name the columns")
        return table._replace(header=header[1])

    def rows(self) -> Iterator[Row]:
        """Yield the rows in order; FileError names file, line and reason of a wrong one."""
        if self.delimiter is None:
            yield from self._read_objects()
            return
        names = list(self.header)
        places = {name: names.index(name) for name in names}
        lines = self._read_cells()
        next(lines)
        for line, cells in lines:
            if len(cells) > len(names):
                raise FileError(
                    f"{self.path}:{line}: has {len(cells)} cells and the header {len(names)}; "
                    "check quotes and --delimiter"
                )
            cells = cells + [""] * (len(names) - len(cells))
            yield Row(line, {name: cells[place] for name, place in places.items()}, cells)

    def write(self, path: Path, added: Sequence[str], rows: Iterator[tuple[Row, list[Any]]]) -> int:
        """Write rows with values for the columns `added`, in this table's own form.

        Whole or not at all; returns how many rows. FileError if it cannot be written.
        """
        count = 0
        with open_whole(path, encoding=self.encoding) as file:
            write = self._make_writer(file, added)
            for count, (row, values) in enumerate(rows, 1):  # noqa: B007
                write(row, values)
        return count

    def _make_writer(self, file: IO[str], added: Sequence[str]) -> Any:
        if self.delimiter is None:

            def write_object(row: Row, values: list[Any]) -> None:
                content = {**row.values, **dict(zip(added, values, strict=True))}
                line = json.dumps(content, ensure_ascii=False)
                try:
                    line.encode(self.encoding)
                except UnicodeEncodeError:  # JSON can escape what no text may hold
                    line = json.dumps(content)
                file.write(line + "\n")

            return write_object
        writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow([*self.header, *added])
        return lambda row, values: writer.writerow([*row.cells, *map(_spell, values)])

    def _read_cells(self) -> Iterator[tuple[int, list[str]]]:
        assert self.delimiter is not None
        with self._open_text() as file:
            try:
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            except TypeError as error:
                raise FileError(f"--delimiter {self.delimiter!r}: must be one character") from error
            try:
                yield from ((reader.line_num, cells) for cells in reader if cells)
            except csv.Error as error:
                raise FileError(f"{self.path}:{reader.line_num}: not CSV: {error}") from error
            except UnicodeError as error:
                raise self._explain_encoding(reader.line_num + 1) from error

    def _read_objects(self) -> Iterator[Row]:
        with self._open_text() as file:
            number = 0
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield Row(number, self._parse_object(number, line), None)
            except UnicodeError as error:
                raise self._explain_encoding(number + 1) from error

    def _parse_object(self, number: int, line: str) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileError(f"{self.path}:{number}: not JSON: {error}") from error
        if not isinstance(content, dict):
            raise FileError(f"{self.path}:{number}: must be a JSON object, a row of the table")
        return content

    def _open_text(self) -> IO[str]:
        # newline: CSV keeps line breaks in quoted cells; a JSON text may hold other separators.
        return self.path.open(encoding=self.encoding, newline="" if self.delimiter else "\n")

    def _explain_encoding(self, near: int) -> FileError:
        name = self.encoding.removesuffix("-sig")
        return FileError(
            f"{self.path}: not {name} (near line {near}); save it as CSV UTF-8, or name its "
            "encoding: --encoding gb18030 for Chinese Excel"
        )


@contextmanager
def open_whole(path: Path, *, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """Open a text file for writing that appears whole, at the end, or not at all.

    FileError if it cannot be written.
    """
    temporary = path.with_name(path.name + ".writing")
    try:
        with temporary.open("w", encoding=encoding, newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written: {error.strerror}; free space or choose another name, and "
            "run it again: the answers are kept"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _spell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "|".join(value) if isinstance(value, list) else value
