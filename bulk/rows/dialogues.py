"""Which rows are one dialogue, in spoken order, and where a dialogue is gathered. Pure."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa

from bulk.rows.columns import Columns
from tables.table import spell


class Marks(NamedTuple):
    """Columns that a row carries while dialogues are gathered; the first two stay."""

    file: str
    row: str
    bucket: str


def name_marks(prefix: str) -> Marks:
    """Their names, with the prefix of all added columns."""
    return Marks(f"{prefix}file", f"{prefix}row", f"{prefix}bucket")


def group_rows(batch: pa.RecordBatch, columns: Columns) -> list[list[int]]:
    """The places of the rows of each dialogue, in spoken order.

    A row that names no dialogue is one of its own.
    """
    if columns.dialogue is None:
        groups = [list(range(batch.num_rows))]
    else:
        known: dict[str, list[int]] = {}
        groups = []
        for place, value in enumerate(batch.column(columns.dialogue).to_pylist()):
            if value is None:
                groups.append([place])
            elif (name := spell(value) or "") in known:
                known[name].append(place)
            else:
                groups.append(known.setdefault(name, [place]))
    if columns.order is None:
        return groups
    ranks = list(map(_read_rank, batch.column(columns.order).to_pylist()))
    return [_sort(group, ranks) for group in groups]


def choose_bucket(value: Any, row: int, buckets: int) -> int:
    """The bucket that gathers a row's dialogue: the same on every node and in every run.

    `row` is the row's number, for rows that name no dialogue.
    """
    name = str(row) if value is None else spell(value) or ""
    return crc32(name.encode()) % buckets


def _sort(group: list[int], ranks: Sequence[float]) -> list[int]:
    """By rank where every row has one; else as the rows stand."""
    if any(math.isnan(ranks[place]) for place in group):
        return group
    return sorted(group, key=ranks.__getitem__)


def _read_rank(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def mark_rows(
    batch: pa.RecordBatch, columns: Columns, *, file: str, first: int, buckets: int, names: Marks
) -> pa.RecordBatch:
    """The rows with where they came from, and the bucket that gathers their dialogue."""
    assert columns.dialogue is not None
    numbers = range(first, first + batch.num_rows)
    values = batch.column(columns.dialogue).to_pylist()
    chosen = [
        choose_bucket(value, row, buckets) for value, row in zip(values, numbers, strict=True)
    ]
    marks = {
        names.file: pa.array([file] * batch.num_rows, pa.string()),
        names.row: pa.array(numbers, pa.int64()),
        names.bucket: pa.array(chosen, pa.int32()),
    }
    arrays = [*batch.columns, *marks.values()]
    return pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, *marks])
