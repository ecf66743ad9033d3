"""Parquet, where pyarrow is installed; schema, metadata and compression stay as they are."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tables.errors import FileError
from tables.table import Limits, Row, Table, check_size, map_cells, spell
from tables.whole_file import replace_whole

_BATCH_ROWS = 4096


class ParquetTable(Table):
    """Typed columns, read a few thousand rows at a time."""

    format = "parquet"

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self._limits = path, limits
        self._arrow, self._parquet = _import_arrow(path)
        try:
            with self._parquet.ParquetFile(path) as file:
                self.header = tuple(file.schema_arrow.names)
                rows = file.metadata.num_rows
                groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            raise self._explain(error) from error
        check_size(self, limits, rows=rows, columns=len(self.header), whole=False)
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > limits.unpacked_bytes:
            raise FileError(f"{path}: a row group has {largest:,} bytes; write smaller ones")
        self._codec = groups[0].column(0).compression if groups and self.header else "SNAPPY"

    @classmethod
    def open(cls, path: Path, *, limits: Limits = Limits()) -> "ParquetTable":  # noqa: B008
        """FileError names what is wrong with the file, or that pyarrow is missing."""
        return cls(path, limits)

    def rows(self) -> Iterator[Row]:
        numbers = itertools.count(1)
        for batch in self._read_batches():
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                yield Row(next(numbers), map_cells(self.header, cells), cells)

    def place(self, line: int) -> str:
        return f"{self.path}, row {line}"

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        columns: list[list[Any]] = [[] for _ in added]
        count = 0
        for count, (_, values) in enumerate(rows, 1):  # noqa: B007
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        arrays = [self._to_array(column) for column in columns]
        with self._parquet.ParquetFile(self.path) as file:
            schema = file.schema_arrow
        for name, array in zip(added, arrays, strict=True):
            schema = schema.append(self._arrow.field(name, array.type))
        codec = "NONE" if self._codec == "UNCOMPRESSED" else self._codec
        place = 0
        with (
            replace_whole(path) as temporary,
            self._parquet.ParquetWriter(temporary, schema, compression=codec) as writer,
        ):
            for batch in self._read_batches():
                ours = [array.slice(place, batch.num_rows) for array in arrays]
                place += batch.num_rows
                writer.write_batch(
                    self._arrow.RecordBatch.from_arrays([*batch.columns, *ours], schema=schema)
                )
        return count

    def _to_array(self, values: list[Any]) -> Any:
        """One type for a column: numbers, truth values, else text."""
        present = [value for value in values if value is not None]
        numbers = all(isinstance(value, int | float) for value in present)
        truths = [isinstance(value, bool) for value in present]
        if present and all(truths):
            return self._arrow.array(values, self._arrow.bool_())
        if present and numbers and not any(truths):
            return self._arrow.array(
                [None if value is None else float(value) for value in values],
                self._arrow.float64(),
            )
        return self._arrow.array([spell(value) for value in values], self._arrow.string())

    def _read_batches(self) -> Iterator[Any]:
        try:
            with self._parquet.ParquetFile(self.path) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS)
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> FileError:
        return FileError(
            f"{self.path}: cannot be read as Parquet ({type(error).__name__}); write it anew"
        )


def write_parquet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a new file of texts, whole or not at all; returns how many rows."""
    arrow, parquet = _import_arrow(path)
    if len(set(header)) < len(header):
        raise FileError("two columns have one name, which Parquet cannot hold; rename one")
    texts = [[spell(cell) for cell in cells] for cells in rows]
    columns = list(zip(*texts, strict=True)) if texts else [()] * len(header)
    table = arrow.table(
        {
            name: arrow.array(column, arrow.string())
            for name, column in zip(header, columns, strict=True)
        }
    )
    with replace_whole(path) as temporary:
        parquet.write_table(table, temporary)
    return len(texts)


def _import_arrow(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FileError(
            f"{path}: Parquet needs pyarrow; install it (`pip install pyarrow`), or save the "
            "file as CSV"
        ) from error
    return pyarrow, pyarrow.parquet
