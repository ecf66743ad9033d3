"""What every table is, whatever its file: columns, rows in order, and a way to add columns.

What a file holds beside the added columns stays as it is.
"""

import datetime
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from tables.errors import FileError

Format = Literal["csv", "tsv", "jsonl", "json", "xlsx", "parquet", "transcript"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a file is taken; more is refused before it fills the memory."""

    unpacked_bytes: int = 1 << 30
    """Of a workbook or a JSON array, which are held whole."""
    rows: int = sys.maxsize
    columns: int = 16_384
    """As many as a sheet can have."""
    cells: int = 20_000_000
    """Of what is held whole."""


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """Of the file or the sheet, counted from 1; of a row over several lines the last."""
    values: Mapping[str, Any]
    """Column → value; of columns with the same name the first."""
    cells: Sequence[Any]
    """In the order of the header."""
    source: Any = None
    """How the file spells it; for the table's own writer."""


class Table(ABC):
    """A file that was opened: its header is read, and its form is known."""

    path: Path
    format: Format
    header: Sequence[str]
    """Names of the columns, in the order of the file."""
    encoding: str = "utf-8"
    delimiter: str | None = None
    sheets: Sequence[str] = ()
    """All sheets of a workbook."""
    sheet: str | None = None
    """The one that is read."""
    notes: Sequence[str] = ()
    """What whoever uses the rows should know, a sentence each."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yield the rows in order; FileError names file, row and reason of a wrong one."""

    @abstractmethod
    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        """Write rows with values for the columns `added`, in this table's own form.

        Whole or not at all; returns how many rows. FileError if it cannot be written.
        """

    def place(self, line: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path}:{line}"


def check_size(table: Table, limits: Limits, *, rows: int, columns: int, whole: bool) -> None:
    """FileError when a table is larger than the limits; `whole`: it is held in memory."""
    where = f"{table.path}, sheet {table.sheet}" if table.sheet else str(table.path)
    if columns > limits.columns:
        raise FileError(
            f"{where}: has {columns:,} columns, and at most {limits.columns:,} are read; "
            "keep those that are needed"
        )
    if rows > limits.rows:
        raise FileError(f"{where}: has more than {limits.rows:,} rows; part the file")
    if whole and rows * columns > limits.cells:
        raise FileError(f"{where}: has more than {limits.cells:,} cells; part the file")


def map_cells(header: Sequence[str], cells: Sequence[Any]) -> dict[str, Any]:
    """Column → cell; of columns with the same name the first."""
    values: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        values.setdefault(name, cell)
    return values


def spell(value: Any) -> str | None:
    """A cell as text, as files without types hold it; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        is_day = value.time() == datetime.time() and value.tzinfo is None
        return value.date().isoformat() if is_day else value.isoformat(" ")
    if isinstance(value, list | tuple | dict):
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return "|".join(value)
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def neutralise(text: str) -> str:
    """A text that a spreadsheet shows and never executes (OWASP: CSV injection)."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text
