"""Rows as a file: the upload with columns beside its rows, or a new file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from service.files.forms import Refusal, Rows, Upload
from service.files.reading import recognise
from tables.files import write_rows
from tables.table import Format, Limits, Table

_MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jsonl": "application/x-ndjson",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
    "transcript": "text/plain",
}
_SUFFIXES: dict[Format, str] = {"transcript": ".txt"}
_WITH_MACROS = "application/vnd.ms-excel.sheet.macroEnabled.12"
FILE_MEDIA_TYPES = (*_MEDIA_TYPES.values(), _WITH_MACROS)
_NEW_NAME = "labelled"
_Row = TypeVar("_Row")


def write_file(
    upload: Upload, added: Rows, base: Rows | None, limits: Limits, path: Path
) -> tuple[str, str]:
    """Write the file and return its media type and its name."""
    if base is not None:
        format = upload.find_format() or "csv"
        _check_rows(added, len(base.rows), base.names)
        rows = ([*cells, *own] for cells, own in _pair(base.rows, added))
        write_rows(path, format, [*base.names, *added.names], rows)
        return _name_type(format, "utf-8"), _NEW_NAME + _SUFFIXES.get(format, f".{format}")
    table, _ = recognise(upload.open(limits))
    format = upload.find_format() or table.format
    # Twice through the file costs less than all its rows in memory.
    _check_rows(added, sum(1 for _ in table.rows()), list(table.header))
    pairs = _pair(table.rows(), added)
    stem, suffix = Path(upload.file_name).stem, Path(upload.file_name).suffix
    if format == table.format:
        table.write(path, added.names, pairs)
    else:
        suffix = _SUFFIXES.get(format, f".{format}")
        cells = ([*row.cells, *own] for row, own in pairs)
        write_rows(path, format, [*table.header, *added.names], cells)
    media_type = _name_type(format, _find_charset(table, format))
    if suffix.lower() == ".xlsm":
        media_type = _WITH_MACROS
    return media_type, f"{stem}.{_NEW_NAME}{suffix}"


def _find_charset(table: Table, format: Format) -> str:
    return table.encoding if format == table.format else "utf-8"


def _name_type(format: Format, charset: str) -> str:
    media_type = _MEDIA_TYPES[format]
    return f"{media_type}; charset={charset}" if media_type.startswith("text/") else media_type


def _check_rows(added: Rows, count: int, names: list[str]) -> None:
    if added.names and len(added.rows) != count:
        raise Refusal("columns.rows", f"has {len(added.rows):,} rows and the file {count:,}")
    if set(added.names) & set(names):
        raise Refusal("columns.names", "has a column that the file has already; rename it")
    if len(set(added.names)) < len(added.names):
        raise Refusal("columns.names", "names a column twice")


def _pair(rows: Iterable[_Row], added: Rows) -> Iterator[tuple[_Row, list[Any]]]:
    if added.names:
        return zip(rows, added.rows, strict=True)
    return ((row, []) for row in rows)
