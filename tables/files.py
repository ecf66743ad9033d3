"""Opens a file as a table, whatever its format, and writes rows as a new file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tables.delimited import DelimitedTable, write_delimited
from tables.errors import FileError
from tables.json_rows import JsonTable, write_json
from tables.parquet import ParquetTable, write_parquet
from tables.table import Format, Limits, Row, Table
from tables.transcript import TranscriptTable, write_transcript

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
    ".txt": "transcript",
}


_OURS = (".labelled", ".audit")


def list_files(paths: Sequence[Path]) -> list[Path]:
    """The files, and for a folder those in it whose format is known, in the order of their names.

    What we wrote (`NAME.labelled.csv`, `NAME.audit.csv`) is left out. FileError if a folder has
    none.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(
            each
            for each in path.iterdir()
            if each.suffix.lower() in SUFFIXES and not each.stem.endswith(_OURS)
        )
        if not found:
            raise FileError(f"{path}: no file in it is one of {', '.join(SUFFIXES)}")
        files += found
    return list(dict.fromkeys(files))


def find_format(path: Path) -> Format:
    """By the ending of the name; FileError lists those that are known."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        remedy = "save it as .xlsx" if suffix in (".xls", ".ods") else "save it as one of them"
        raise FileError(
            f"{path}: {suffix or 'no ending'} is none of {', '.join(SUFFIXES)}; {remedy}"
        )
    return SUFFIXES[suffix]


def open_table(
    path: Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Table:
    """Read the header, and what must be known of the file; its name's ending says what it is.

    Encoding and delimiter are recognised unless they are named, and so is the sheet: the first
    that is shown. FileError names what is wrong with the file or the options.
    """
    format = find_format(path)
    if sheet is not None and format != "xlsx":
        raise FileError(f"{path}: has no sheets; leave --sheet out")
    if format in ("csv", "tsv"):
        return DelimitedTable.open(
            path, format, encoding=encoding, delimiter=delimiter, limits=limits
        )
    if format in ("jsonl", "json"):
        return JsonTable.open(path, format, encoding=encoding, limits=limits)
    if format == "xlsx":
        from tables.workbooks.workbook import (
            WorkbookTable,
        )  # 0.1 s that other formats need not wait

        return WorkbookTable.open(path, sheet=sheet, limits=limits)
    if format == "parquet":
        return ParquetTable.open(path, limits=limits)
    return TranscriptTable.open(path, encoding=encoding, limits=limits)


def write_table(
    table: Table, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]
) -> int:
    """Write the table with columns added, in the format that the name of `path` ends in."""
    format = find_format(path)
    if format == table.format:
        return table.write(path, added, rows)
    pairs = ([*row.cells, *values] for row, values in rows)
    return write_rows(path, format, [*table.header, *added], pairs)


def write_rows(
    path: Path, format: Format, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Write a new file, whole or not at all; returns how many rows.

    Texts that a spreadsheet would execute are written so that it does not.
    """
    if format in ("csv", "tsv"):
        return write_delimited(path, format, header, rows)
    if format in ("jsonl", "json"):
        return write_json(path, format, header, rows)
    if format == "xlsx":
        from tables.workbooks.workbook import write_workbook

        return write_workbook(path, header, rows)
    if format == "parquet":
        return write_parquet(path, header, rows)
    return write_transcript(path, header, rows)
