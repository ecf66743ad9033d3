"""Gathers the rows of each dialogue, from whatever files they lie in, before windows are cut.

Ray Data shuffles all rows by a hash of the dialogue's name, and each bucket is written as a file
into a folder of the output: one read of the input, once all of it through the network (and the
disks of the nodes, where it does not fit into their memory), and one write. It goes fast beside
labelling, and begins anew if it is broken off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet
import ray.data

from bulk.cluster.connection import keep_quiet
from bulk.fragments import Part, read_batches
from bulk.part import BATCH_ROWS
from bulk.rows.columns import Columns, check_header
from bulk.rows.dialogues import Marks, mark_rows
from bulk.storage import Place
from tables.errors import FileError

_ERROR = "_ncal_error"
_NO_BUCKET = -1
"""Of what is no row but why a file could not be read."""


class Gathered(NamedTuple):
    """What lies in the folder of the buckets."""

    rows: dict[int, int]
    """Bucket → its rows; of those that have some."""
    bad: dict[str, str]
    """Files that could not be read, and why."""


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """What is gathered, and where to; the same for every node."""

    input: str
    folder: str
    """Of the buckets."""
    columns: Columns
    schema: pa.Schema
    """That all files must have."""
    marks: Marks
    buckets: int


def name_bucket(bucket: int) -> str:
    """Its file in the folder."""
    return f"dialogues-{bucket:06d}.parquet"


def gather_dialogues(gathering: Gathering, files: list[str]) -> Gathered:
    """Write all rows into buckets, each dialogue whole in one; files that are bad are left out."""
    data = ray.data.from_items([{"file": file} for file in files], override_num_blocks=len(files))
    marked = data.map_batches(
        _read_file, fn_args=(gathering,), batch_size=1, batch_format="pyarrow"
    )
    grouped = marked.groupby(gathering.marks.bucket, num_partitions=gathering.buckets)
    written = grouped.map_groups(_write_bucket, fn_args=(gathering,), batch_format="pyarrow")
    keep_quiet()
    rows: dict[int, int] = {}
    bad: dict[str, str] = {}
    for row in written.iter_rows():
        if row["bucket"] == _NO_BUCKET:
            bad[row["file"]] = row["reason"]
        else:
            rows[int(row["bucket"])] = int(row["rows"])
    return Gathered(dict(sorted(rows.items())), bad)


def _read_file(batch: pa.Table, gathering: Gathering) -> Iterator[pa.Table]:
    """The rows of a file with their marks; of a bad file one row that says why."""
    (file,) = batch.column("file").to_pylist()
    source = Place(gathering.input)
    marked: list[pa.Table] = []
    first = 0
    try:
        for rows in read_batches(source, Part(file), BATCH_ROWS):
            check_header(file, rows.schema.names, gathering.columns, gathering.marks)
            found = mark_rows(
                _fit(rows, file, gathering.schema),
                gathering.columns,
                file=file,
                first=first,
                buckets=gathering.buckets,
                names=gathering.marks,
            )
            first += rows.num_rows
            marked.append(_add_error(pa.Table.from_batches([found]), None))
    except FileError as error:
        # Nothing of a bad file goes on: half a dialogue would have wrong neighbours.
        yield _make_error(file, str(error), gathering)
        return
    yield from marked or [_make_error(file, "", gathering)]


def _fit(rows: pa.RecordBatch, file: str, schema: pa.Schema) -> pa.RecordBatch:
    try:
        return rows.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError):
        raise FileError(f"{file}: has other columns than the first file") from None


def _add_error(table: pa.Table, reason: str | None) -> pa.Table:
    return table.append_column(_ERROR, pa.array([reason] * table.num_rows, pa.string()))


def _make_error(file: str, reason: str, gathering: Gathering) -> pa.Table:
    marks = gathering.marks
    empty = pa.Table.from_arrays(
        [pa.nulls(1, field.type) for field in gathering.schema], schema=gathering.schema
    )
    empty = empty.append_column(marks.file, pa.array([file]))
    empty = empty.append_column(marks.row, pa.array([0], pa.int64()))
    empty = empty.append_column(marks.bucket, pa.array([_NO_BUCKET], pa.int32()))
    return _add_error(empty, reason)


def _write_bucket(rows: pa.Table, gathering: Gathering) -> pa.Table:
    """Write a bucket and say so; of the one that is none say what went wrong."""
    marks = gathering.marks
    bucket = rows.column(marks.bucket)[0].as_py()
    if bucket == _NO_BUCKET:
        files, reasons = rows.column(marks.file).to_pylist(), rows.column(_ERROR).to_pylist()
        told = [(file, why) for file, why in zip(files, reasons, strict=True) if why]
        return _tell([(_NO_BUCKET, 0, file, why) for file, why in told])
    sorted_rows = rows.sort_by([(marks.file, "ascending"), (marks.row, "ascending")])
    with TemporaryDirectory(prefix="ncal-") as folder:
        path = Path(folder, "bucket.parquet")
        kept = sorted_rows.drop_columns([marks.bucket, _ERROR])
        pyarrow.parquet.write_table(kept, path, compression="zstd")
        Place(gathering.folder).put(name_bucket(bucket), path)
    return _tell([(bucket, rows.num_rows, "", "")])


def _tell(rows: list[tuple[Any, ...]]) -> pa.Table:
    buckets, counts, files, reasons = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "bucket": pa.array(buckets, pa.int32()),
            "rows": pa.array(counts, pa.int64()),
            "file": pa.array(files, pa.string()),
            "reason": pa.array(reasons, pa.string()),
        }
    )
