"""What a person should look at: the rows to review, least sure first, and a sample of the rest.

The sample is drawn with a seed from all rows that need no review, so that agreement on it is an
unbiased estimate for them; what was picked for being doubtful says nothing of the others.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labelling.items import find_dialogue, read_text
from labelling.job import Job
from labelling.journal import Answer
from labelling.results.output import Labelled
from tables.files import find_format, write_rows
from tables.table import Row, spell

HEADER = (
    "file", "row", "dialogue", "speaker", "before", "text", "after", "label", "confidence",
    "prediction_set", "why", "your_label",
)  # fmt: skip
NEEDS_REVIEW, SAMPLE, FAILED = "needs review", "random sample", "no label"


class Entry(NamedTuple):
    """A row as a reviewer sees it; its cells are those of `HEADER`."""

    confidence: float
    why: str
    cells: list[Any]
    place: int = 0
    """Of the row in its table, counted from 0."""


def write_review(
    files: Sequence[Labelled], path: Path, *, sample: int, seed: int
) -> tuple[int, int]:
    """Write the rows for review and return how many need it and how many are drawn."""
    doubtful: list[Entry] = []
    rest: list[Entry] = []
    chance = random.Random(seed)
    seen = 0
    for labelled in files:
        for entry in list_entries(labelled):
            if entry.why != SAMPLE:
                doubtful.append(entry)
                continue
            # Algorithm R (Vitter, 1985): every row is equally likely, whatever their number.
            seen += 1
            if len(rest) < sample:
                rest.append(entry)
            elif (place := chance.randrange(seen)) < sample:
                rest[place] = entry
    doubtful.sort(key=lambda entry: entry.confidence)
    chance.shuffle(rest)
    write_rows(path, find_format(path), HEADER, [entry.cells for entry in (*doubtful, *rest)])
    return len(doubtful), len(rest)


def list_entries(labelled: Labelled) -> Iterator[Entry]:
    """An entry for each row with a text, with what was said around it."""
    job = labelled.job
    columns = job.reading.columns
    around: deque[tuple[int, Row, Answer] | None] = deque([None, None, None], maxlen=3)
    pairs = (
        (place, row, answer)
        for place, (row, answer) in enumerate(labelled.read())
        if read_text(job.table, row, columns.text)
    )
    for pair in itertools.chain(pairs, [None]):
        around.append(pair)
        if (own := around[1]) is not None:
            before, after = (each[1] if each else None for each in (around[0], around[2]))
            yield _make_entry(job, own[1], own[2], before, after)._replace(place=own[0])


def _make_entry(
    job: Job,
    row: Row,
    answer: Answer,
    before: Row | None,
    after: Row | None,
) -> Entry:
    is_turn = job.reading.kind == "dialogue-turn"
    text, speaker = job.reading.columns.text, job.reading.columns.speaker
    dialogue = find_dialogue(row, job.reading)

    def quote(other: Row | None) -> str | None:
        if not is_turn or other is None or find_dialogue(other, job.reading) != dialogue:
            return None
        return read_text(job.table, other, text)

    why = SAMPLE
    if "label" not in answer:
        why = FAILED
    elif answer["needs_review"]:
        why = NEEDS_REVIEW
    cells = [
        str(job.table.path.name), row.line, spell(dialogue),
        read_text(job.table, row, speaker) if is_turn else None,
        quote(before), read_text(job.table, row, text), quote(after),
        answer.get("label"), answer.get("confidence"), answer.get("prediction_set"), why, None,
    ]  # fmt: skip
    return Entry(answer.get("confidence", 0.0), why, cells)
