"""The labelled file, the structure of its dialogues, and a summary for the terminal."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contract.interaction import LabelledTurn, describe_structure
from contract.priors import Mix
from labelling.client import ServedTask
from labelling.items import find_dialogue, find_speaker, read_text
from labelling.job import Job
from labelling.journal import Answer, Journal
from labelling.mixes import describe_mix, read_settled
from labelling.results.agreement import measure_agreement
from tables.errors import FileError
from tables.files import write_table
from tables.table import Row, Table, spell
from tables.whole_file import open_whole

_FIELDS = ("label", "confidence", "needs_review", "prediction_set", "was_cut", "error", "model")
_DIGITS = 6  # of a probability; float32 has no more


class Labelled(NamedTuple):
    """A file of which every row has an answer."""

    job: Job
    journal: Journal
    mix: Mix
    """The class mix that labels are for."""

    def read(self) -> Iterator[tuple[Row, Answer]]:
        """The rows, each with its answer for the mix."""
        answers = read_settled(self.journal, self.job.task, self.mix)
        return zip(self.job.table.rows(), answers, strict=True)


class Summary(NamedTuple):
    """What became of the rows."""

    mix: Mix
    """The class mix that labels are for."""
    rows: int
    failed: int
    """Rows without a label; their error says why."""
    review: int
    labels: Counter[str]
    compared: Counter[tuple[str, str]]
    """Label of the column that is compared and label of the model, how often; less rows in which
    the column has none of the task's labels."""


def name_columns(task: ServedTask, prefix: str) -> list[str]:
    """The columns that are added to each row."""
    return [prefix + name for name in (*_FIELDS, *(f"p_{label}" for label in task.groups))]


def check_prefix(table: Table, task: ServedTask, prefix: str) -> None:
    """FileError if the table has one of the columns already."""
    if double := sorted(set(name_columns(task, prefix)) & set(table.header)):
        raise FileError(
            f"{table.path}:1: has a column {double[0]} already; choose another --prefix"
        )


def check_given(table: Table, task: ServedTask, column: str) -> None:
    """FileError unless some row of the column has a label of the task."""
    spellings = list_spellings(task)
    if not any(read_given(row, column, spellings) for row in table.rows()):
        raise FileError(
            f"{table.path}: no row has a label of {task.name} in {column}; it must be one of "
            f"{', '.join(task.groups)}, or its name in English or Chinese"
        )


def list_spellings(task: ServedTask) -> dict[str, str]:
    """How people write labels, in lower case: id, English and Chinese name → id."""
    spellings = {label.casefold(): label for label in task.groups}
    for label, names in task.names.items():
        for name in names:
            spellings.setdefault(name.casefold(), label)
    return spellings


def read_given(row: Row, column: str | None, spellings: Mapping[str, str]) -> str | None:
    """The label that people gave a row; None where there is none of the task's."""
    text = spell(row.values.get(column)) if column else None
    return spellings.get((text or "").strip().casefold())


def write_labelled(labelled: Labelled, path: Path, *, prefix: str, compare: str | None) -> Summary:
    """Write the rows with their labels and return what became of them.

    `compare` names a column with labels that people gave.
    """
    task = labelled.job.task
    spellings = list_spellings(task)
    labels: Counter[str] = Counter()
    compared: Counter[tuple[str, str]] = Counter()
    failed = review = 0

    def add_values() -> Iterator[tuple[Row, list[Any]]]:
        nonlocal failed, review
        for row, answer in labelled.read():
            if "error" in answer:
                failed += 1
            else:
                labels[answer["label"]] += 1
                review += answer["needs_review"]
                if given := read_given(row, compare, spellings):
                    compared[given, answer["label"]] += 1
            yield row, _list_values(answer, task)

    rows = write_table(labelled.job.table, path, name_columns(task, prefix), add_values())
    return Summary(labelled.mix, rows, failed, review, labels, compared)


def describe_dialogues(labelled: Labelled) -> Iterator[dict[str, Any]]:
    """Yield the IRF structure of each dialogue; rows without text are no turns.

    A dialogue in which a turn has no label has None: a gap would falsify it. So has each of a
    task whose labels name no moves.
    """
    job = labelled.job
    table, reading, scheme = job.table, job.reading, job.task.scheme
    for dialogue, group in itertools.groupby(
        labelled.read(), lambda pair: find_dialogue(pair[0], reading)
    ):
        turns = [
            (answer, speaker, text)
            for row, answer in group
            if (text := read_text(table, row, reading.columns.text))
            and (speaker := find_speaker(table, row, reading))
        ]
        known = [
            LabelledTurn(speaker, text, answer["label"])
            for answer, speaker, text in turns
            if "label" in answer
        ]
        structure = None
        if scheme is not None and turns and len(known) == len(turns):
            structure = describe_structure(known, scheme).model_dump()
        yield {"dialogue": dialogue, "turns": len(turns), "structure": structure}


def write_structure(files: Sequence[Labelled], path: Path) -> None:
    """Write the IRF structure of each dialogue, a line of JSON each; of several files with the
    name of the file."""
    with open_whole(path) as file:
        for labelled in files:
            name = {"file": str(labelled.job.table.path)} if len(files) > 1 else {}
            for content in describe_dialogues(labelled):
                line = json.dumps({**name, **content}, ensure_ascii=False, default=str)
                file.write(line + "\n")


def describe_summary(summary: Summary, task: ServedTask, prefix: str) -> str:
    """A few lines for the terminal."""
    labelled = summary.rows - summary.failed
    lines = [f"{labelled:,} of {summary.rows:,} rows labelled by {task.model} ({task.name})"]
    if summary.failed:
        lines.append(f"{summary.failed:,} without a label: see the column {prefix}error")
    if labelled:
        lines += describe_mix(summary.mix, task)
        share = summary.review / labelled
        lines.append(f"{summary.review:,} to review ({share:.0%}): {prefix}needs_review is true")
        width = max(map(len, task.groups))
        counts = [(label, summary.labels[label]) for label in task.groups]
        lines += [
            f"  {label:<{width}} {count:>9,}  {count / labelled:4.0%}" for label, count in counts
        ]
    if summary.compared:
        rows, equal, kappa = measure_agreement(summary.compared)
        beyond = "not defined" if kappa is None else f"{kappa:.3f}"
        lines.append(
            f"as the given label: {equal:,} of {rows:,} ({equal / rows:.1%}), kappa {beyond}"
        )
    return "\n".join(lines)


def _list_values(answer: Answer, task: ServedTask) -> list[Any]:
    """In the order of `name_columns`; None where there is nothing."""
    known = {**answer, "model": task.model}
    probabilities = answer.get("probabilities", {})
    values = [
        *(known.get(name) for name in _FIELDS),
        *(probabilities.get(label) for label in task.groups),
    ]
    return [round(value, _DIGITS) if isinstance(value, float) else value for value in values]
