"""One file from rows to labels."""

import hashlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from labelling.client import Client, ServedTask
from labelling.items import Reading, make_items
from labelling.journal import Answer, Journal
from ncal_client import Result
from tables.table import Table

_BATCH_ITEMS = 256
_BATCH_CHARACTERS = 500_000  # of text: below the service's limit for a body, in any script
_IN_FLIGHT = 2  # one is computed while the next is sent and the last one kept
_TOLD_EVERY_S = 10.0
NO_TEXT = "the text is empty"


class Job(NamedTuple):
    """What is labelled, and how."""

    table: Table
    reading: Reading
    task: ServedTask
    rows: int

    def describe(self) -> dict[str, Any]:
        """What answers belong to: with any of it different they might be others."""
        return {
            "file": _hash_file(self.table.path),
            "task": self.task.name,
            "model": self.task.model,
            "answers": "uniform",
            "mode": self.reading.mode,
            "columns": list(self.reading.columns),
            "speakers": dict(self.reading.speakers),
            "encoding": self.table.encoding,
            "delimiter": self.table.delimiter,
            "sheet": self.table.sheet,
        }


def label_rows(job: Job, journal: Journal, client: Client) -> None:
    """Have the service classify every row that has no answer yet, and keep the answers.

    Raises ServiceFailure when the service cannot go on; what was answered before is kept.
    """
    items = itertools.islice(make_items(job.table, job.reading), journal.done, None)
    waiting: deque[Future[list[Answer]]] = deque()
    progress = _Progress(journal.done, job.rows)
    pool = ThreadPoolExecutor(_IN_FLIGHT)
    try:
        for batch in _part(items):
            waiting.append(pool.submit(_classify, client, job, batch))
            if len(waiting) == _IN_FLIGHT:
                journal.add(waiting.popleft().result())
                progress.tell(journal.done)
        while waiting:
            journal.add(waiting.popleft().result())
            progress.tell(journal.done)
    except BaseException:
        client.stop()  # what is left now is not wanted any more
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        progress.end()


def to_answer(result: Result) -> Answer:
    """What is kept of a result of the service: what it says under the uniform prior, of which
    `labelling.mixes` makes the label."""
    if result.answer is None:
        assert result.error is not None
        reasons = [each.reason for each in result.error.reasons]
        return {"error": "; ".join(reasons) or result.error.detail}
    return {
        "prediction_set": result.answer.prediction_set,
        "was_cut": result.answer.was_cut,
        "probabilities": result.answer.probabilities,
    }


def _classify(client: Client, job: Job, batch: list[dict[str, Any] | None]) -> list[Answer]:
    results = iter(client.classify(job.task, [item for item in batch if item]))
    return [{"error": NO_TEXT} if item is None else to_answer(next(results)) for item in batch]


def _part(items: Iterable[dict[str, Any] | None]) -> Iterator[list[dict[str, Any] | None]]:
    batch: list[dict[str, Any] | None] = []
    characters = 0
    for item in items:
        length = _count_characters(item)
        if batch and (len(batch) == _BATCH_ITEMS or characters + length > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(item)
        characters += length
    if batch:
        yield batch


def _count_characters(item: dict[str, Any] | None) -> int:
    if item is None:
        return 0
    context = itertools.chain(item.get("previous", ()), item.get("following", ()))
    return len(item["text"]) + sum(len(turn["text"]) for turn in context)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Progress:
    """A line on the terminal that stays up to date; a line now and then in a log."""

    def __init__(self, done: int, rows: int) -> None:
        self._first, self._rows = done, rows
        self._start = self._told = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        if done:
            print(f"{done:,} of {rows:,} rows are labelled already", file=sys.stderr)

    def tell(self, done: int) -> None:
        now = time.monotonic()
        if not self._is_terminal and now - self._told < _TOLD_EVERY_S:
            return
        self._told = now
        speed = (done - self._first) / max(now - self._start, 1e-9)
        left = (self._rows - done) / max(speed, 1e-9)
        line = f"{done:,} of {self._rows:,} rows, {speed:,.0f} a second, {left:,.0f} s left"
        # Erases what a longer line left behind.
        print(f"\r{line}\x1b[K" if self._is_terminal else line,
              end="" if self._is_terminal else "\n", file=sys.stderr, flush=True)  # fmt: skip

    def end(self) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
