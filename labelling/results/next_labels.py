"""A file of the rows that a person should label next, ranked."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelling.results.output import Labelled, list_spellings, read_given
from labelling.results.review import HEADER, list_entries
from labelling.results.selection import (
    Floats,
    find_candidates,
    order_candidates,
    vectorize_texts,
)
from tables.files import find_format, write_rows

RANK_HEADER = ("rank", *HEADER)


def write_next(
    files: Sequence[Labelled], path: Path, *, rows: int, compare: str | None, seed: int
) -> int:
    """Write the rows to label next, the first first; returns how many, at most `rows`.

    Rows that have a label in the column `compare` are left out, for they have one already. The
    files are of one task. Only the probabilities of all rows are held, and the texts of some.
    """
    places, probabilities = _read_open(files, compare)
    if not len(places):
        return write_rows(path, find_format(path), RANK_HEADER, [])
    chosen = find_candidates(probabilities, rows)
    wanted = {places[each] for each in chosen}
    cells = dict(_read_cells(files, wanted))
    candidates = [each for each in chosen if places[each] in cells]
    own = probabilities[candidates]
    texts = [cells[places[each]][HEADER.index("text")] for each in candidates]
    order = order_candidates(own, vectorize_texts(texts), rows, seed=seed)
    labels = list(files[0].job.task.groups)
    ranked = (
        [rank, *_say_why(cells[places[candidates[place]]], own[place], labels)]
        for rank, place in enumerate(order, 1)
    )
    return write_rows(path, find_format(path), RANK_HEADER, ranked)


def _read_open(
    files: Sequence[Labelled], compare: str | None
) -> tuple[list[tuple[int, int]], Floats]:
    """File and place of the rows that nobody has labelled, and what the model says of them under
    the uniform prior (rows, classes)."""
    places: list[tuple[int, int]] = []
    values = array("f")
    labels = list(files[0].job.task.groups)
    spellings = list_spellings(files[0].job.task)
    for number, labelled in enumerate(files):
        pairs = zip(labelled.job.table.rows(), labelled.journal.read(), strict=True)
        for place, (row, answer) in enumerate(pairs):
            if "error" not in answer and not read_given(row, compare, spellings):
                places.append((number, place))
                values.extend(answer["probabilities"][label] for label in labels)
    return places, np.frombuffer(values, dtype=np.float32).reshape(-1, len(labels))


def _read_cells(
    files: Sequence[Labelled], wanted: set[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], list[Any]]]:
    for number, labelled in enumerate(files):
        for entry in list_entries(labelled):
            if (number, entry.place) in wanted:
                yield (number, entry.place), entry.cells


def _say_why(cells: list[Any], own: Floats, labels: Sequence[str]) -> list[Any]:
    """The cells, with the two labels between which the model wavers."""
    first, second = np.argsort(-own, kind="stable")[:2]
    why = f"{labels[first]} or {labels[second]}: {own[first]:.2f} to {own[second]:.2f}"
    changed = list(cells)
    changed[HEADER.index("why")] = why
    return changed
