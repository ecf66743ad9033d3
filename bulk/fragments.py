"""The parts that the work is done in, and their rows.

A part is a file, or so many rows of a Parquet file: what one engine labels at a stretch, and what
is lost when its node goes. Its name follows from the input and the size of parts alone.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from bulk.storage import Place, StoredFile
from tables.errors import FileError

Format = Literal["parquet", "csv", "tsv", "jsonl"]
_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_PACKED = (".gz", ".bz2", ".zst", ".lz4")
_AT_ONCE = 32
_BLOCK_BYTES = 1 << 20
_NAMES: dict[Format, str] = {
    "parquet": "Parquet", "csv": "CSV", "tsv": "CSV with tabs", "jsonl": "JSON lines",
}  # fmt: skip


class Part(NamedTuple):
    """A file of the input, or some of its rows."""

    file: str
    """Its name below the input."""
    first: int = 0
    """The first row, counted from 0."""
    rows: int | None = None
    """None: as many as there are, which only reading tells."""
    is_whole: bool = True
    """Whether the part is all of the file."""

    def name_output(self, fingerprint: str) -> str:
        """The file of the output that holds it, below the output."""
        rows = "" if self.is_whole else f".{self.first:012d}"
        return f"{self.file}{rows}.{fingerprint}.parquet"


class Plan(NamedTuple):
    """All that is to be labelled."""

    parts: list[Part]
    bad: dict[str, str]
    """Files that cannot be read, and why."""


def find_format(file: str) -> Format | None:
    """By the ending of its name; None for what is not read."""
    path = PurePosixPath(file.lower())
    if path.suffix in _PACKED:
        path = path.with_suffix("")
        return None if path.suffix == ".parquet" else _SUFFIXES.get(path.suffix)
    return _SUFFIXES.get(path.suffix)


def list_input(place: Place) -> list[StoredFile]:
    """The files that are read, in the order of their names; FileError if there is none."""
    files = [file for file in place.list_files() if find_format(file.name)]
    if not files:
        raise FileError(
            f"{place.uri}: holds no {', '.join(_SUFFIXES)}; name the folder of the data"
        )
    return files


def plan_parts(place: Place, files: Sequence[str], part_rows: int | None) -> Plan:
    """Part the files; None leaves each whole. Of Parquet it reads the footers, many at once."""
    parts: list[Part] = []
    bad: dict[str, str] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        counts = pool.map(lambda file: _count_rows(place, file), files)
        for file, count in zip(files, counts, strict=True):
            if isinstance(count, FileError):
                bad[file] = str(count)
            elif count is None or part_rows is None or count <= part_rows:
                parts.append(Part(file, 0, count))
            else:
                parts += [
                    Part(file, first, min(part_rows, count - first), is_whole=False)
                    for first in range(0, count, part_rows)
                ]
    return Plan(parts, bad)


def read_batches(place: Place, part: Part, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part in order; FileError, which quotes nothing of them, if it is bad."""
    format = find_format(part.file)
    assert format is not None
    try:
        if format == "parquet":
            yield from _read_parquet(place, part, batch_rows)
        elif format == "jsonl":
            with place.open(part.file) as source:
                table = pyarrow.json.read_json(source)
            yield from table.to_batches(max_chunksize=batch_rows)
        else:
            yield from _read_delimited(place, part.file, "," if format == "csv" else "\t")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _explain(part.file, error) from error


def _count_rows(place: Place, file: str) -> int | FileError | None:
    """Rows of a Parquet file; of others only reading tells."""
    if find_format(file) != "parquet":
        return None
    try:
        with place.open_at_random(file) as source:
            rows: int = pyarrow.parquet.ParquetFile(source).metadata.num_rows
        return rows
    except (pa.ArrowException, OSError, ValueError) as error:
        return _explain(file, error)


def _read_parquet(place: Place, part: Part, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The row groups that hold a row of the part, cut to its rows."""
    with place.open_at_random(part.file) as source:
        file = pyarrow.parquet.ParquetFile(source)
        end = file.metadata.num_rows if part.rows is None else part.first + part.rows
        row = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if row + count <= part.first or row >= end:
                row += count
                continue
            for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group]):
                low, high = max(part.first - row, 0), min(end - row, batch.num_rows)
                row += batch.num_rows
                if low < high:
                    yield batch.slice(low, high - low)


def _read_delimited(place: Place, file: str, delimiter: str) -> Iterator[pa.RecordBatch]:
    """All cells as texts: a number like 007 stays what it is."""
    parsing = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    reading = pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)
    with place.open(file) as source:
        header = pyarrow.csv.open_csv(source, read_options=reading, parse_options=parsing).schema
    converting = pyarrow.csv.ConvertOptions(
        column_types={name: pa.string() for name in header.names}
    )
    with place.open(file) as source:
        yield from pyarrow.csv.open_csv(
            source, read_options=reading, parse_options=parsing, convert_options=converting
        )


def _explain(file: str, error: Exception) -> FileError:
    """Arrow's own words may quote what the file holds."""
    format = find_format(file)
    assert format is not None
    kind: Any = type(error).__name__
    return FileError(f"{file}: cannot be read as {_NAMES[format]} ({kind}); write it anew")
