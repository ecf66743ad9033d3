"""One part from its rows to its file of the output, the engine never waiting for the next rows."""

import json
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from bulk.fragments import Part, read_batches
from bulk.rows.answers import Labelling, Prepared, Scores, add_answers, prepare
from bulk.rows.columns import check_header, make_fields
from bulk.scorer import Scorer
from bulk.storage import Place

BATCH_ROWS = 2048
_GROUP_ROWS = 32_768
_REPORT = b"ncal_part"
"""Under this name a file of the output says in its footer what became of its rows."""
_MOST_UNDER_WAY = 2
Watch = Callable[["Report"], None]


class Report(NamedTuple):
    """What became of rows."""

    rows: int
    failed: int
    """Rows without a label."""
    review: int
    labels: dict[str, int]
    """Rows of each label."""
    seconds: float
    """Of one engine."""


class _UnderWay(NamedTuple):
    """A batch that the engine is at."""

    batch: pa.RecordBatch
    prepared: Prepared
    scores: Future[Scores]


NOTHING = Report(0, 0, 0, {}, 0.0)


def label_part(
    source: Place,
    part: Part,
    target: Place,
    how: Labelling,
    scorer: Scorer,
    *,
    fingerprint: str,
    watch: Watch = lambda _: None,
) -> Report:
    """Label a part and write its file, whole or not at all.

    `watch` is told of every batch. Raises FileError for a part that cannot be read and EngineDead.
    """
    started = time.monotonic()
    batches = read_batches(source, part, BATCH_ROWS)
    if how.task.label_set.kind == "dialogue-turn":
        batches = _join(batches)
    with tempfile.TemporaryDirectory(prefix="ncal-") as folder:
        path = Path(folder, "part.parquet")
        labelled = _label(part.file, batches, how, scorer)
        report = _write(path, labelled, how, watch, started)
        if report is None:
            return NOTHING
        target.put(part.name_output(fingerprint), path)
    return report


def read_report(target: Place, name: str) -> Report | None:
    """What a file of the output says of its rows; None if it is no whole file of ours."""
    try:
        with target.open_at_random(name) as source:
            metadata = pyarrow.parquet.read_metadata(source).metadata or {}
        return Report(**json.loads(metadata[_REPORT]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None


def add_reports(reports: Iterable[Report]) -> Report:
    """All of them together."""
    labels: Counter[str] = Counter()
    rows = failed = review = 0
    seconds = 0.0
    for report in reports:
        labels.update(report.labels)
        rows, failed, review = rows + report.rows, failed + report.failed, review + report.review
        seconds += report.seconds
    return Report(rows, failed, review, dict(labels), seconds)


def _label(
    file: str, batches: Iterable[pa.RecordBatch], how: Labelling, scorer: Scorer
) -> Iterator[pa.RecordBatch]:
    """Label batches in order: one is computed while the next is read and tokenized."""
    added = [field.name for field in make_fields(how.task, how.prefix)]
    waiting: deque[_UnderWay] = deque()
    for batch in batches:
        check_header(file, batch.schema.names, how.columns, added)
        prepared = prepare(batch, how)
        waiting.append(_UnderWay(batch, prepared, scorer.submit(prepared.prompts)))
        if len(waiting) == _MOST_UNDER_WAY:
            yield _finish(waiting.popleft(), how)
    while waiting:
        yield _finish(waiting.popleft(), how)


def _finish(each: _UnderWay, how: Labelling) -> pa.RecordBatch:
    return add_answers(each.batch, each.prepared, each.scores.result(), how)


def _join(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """All rows as one batch: dialogues must be whole."""
    listed = list(batches)
    if listed:
        yield pa.concat_batches(listed)


def _write(
    path: Path, batches: Iterable[pa.RecordBatch], how: Labelling, watch: Watch, started: float
) -> Report | None:
    """Write batches to a file of this machine; None, and no file, if there are none."""
    report: Report = NOTHING
    writer: Any = None
    held: list[pa.RecordBatch] = []
    try:
        for batch in batches:
            if writer is None:
                writer = pyarrow.parquet.ParquetWriter(path, batch.schema, compression="zstd")
            held.append(batch)
            if sum(each.num_rows for each in held) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held))
                held = []
            counted = _count(batch, how.prefix)
            report = add_reports([report, counted])
            watch(counted)
        if writer is None:
            return None
        if held:
            writer.write_table(pa.Table.from_batches(held))
        report = report._replace(seconds=time.monotonic() - started)
        writer.add_key_value_metadata({_REPORT: json.dumps(report._asdict()).encode()})
    finally:
        if writer is not None:
            writer.close()
    return report


def _count(batch: pa.RecordBatch, prefix: str) -> Report:
    counts = pyarrow.compute.value_counts(batch.column(f"{prefix}label")).to_pylist()
    labels = {each["values"]: each["counts"] for each in counts if each["values"] is not None}
    review = pyarrow.compute.sum(batch.column(f"{prefix}needs_review")).as_py() or 0
    failed = batch.num_rows - sum(labels.values())
    return Report(batch.num_rows, failed, review, labels, 0.0)
