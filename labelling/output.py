"""The labelled file, the structure of its dialogues, and a summary for the terminal."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contract.interaction import LabelledTurn, describe_structure
from contract.priors import Mix
from labelling.agreement import measure_agreement
from labelling.client import ServedTask
from labelling.items import Reading, find_dialogue, find_speaker, read_text
from labelling.journal import Answer, Journal
from labelling.mixes import describe_mix, read_settled
from tables.errors import FileError
from tables.table import Row, Table
from tables.whole_file import open_whole

_FIELDS = ("label", "confidence", "needs_review", "prediction_set", "was_cut", "error", "model")
_DIGITS = 6  # of a probability; float32 has no more


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
    if not any(str(row.values.get(column, "")).strip() in task.groups for row in table.rows()):
        raise FileError(
            f"{table.path}: no row has a label of {task.name} in {column}; it must be one of "
            f"{', '.join(task.groups)}"
        )


def to_answer(result: dict[str, Any]) -> Answer:
    """What is kept of a result of the service: what it says under the uniform prior, of which
    `labelling.mixes` makes the label."""
    if result["status"] == "error":
        error = result["error"]
        reasons = [each["reason"] for each in error.get("errors") or ()]
        return {"error": "; ".join(reasons) or error["detail"]}
    prediction = result["prediction"]
    return {
        "prediction_set": prediction["prediction_set"],
        "was_cut": prediction["was_cut"],
        "probabilities": prediction["probabilities"],
    }


def write_labelled(
    table: Table,
    journal: Journal,
    task: ServedTask,
    mix: Mix,
    path: Path,
    *,
    prefix: str,
    compare: str | None,
) -> Summary:
    """Write the rows with their labels and return what became of them.

    `compare` names a column with labels that people gave.
    """
    labels: Counter[str] = Counter()
    compared: Counter[tuple[str, str]] = Counter()
    failed = review = 0

    def add_values() -> Iterator[tuple[Row, list[Any]]]:
        nonlocal failed, review
        for row, answer in zip(table.rows(), read_settled(journal, task, mix), strict=True):
            if "error" in answer:
                failed += 1
            else:
                labels[answer["label"]] += 1
                review += answer["needs_review"]
                given = str(row.values.get(compare, "")).strip() if compare else ""
                if given in task.groups:
                    compared[given, answer["label"]] += 1
            yield row, _list_values(answer, task)

    rows = table.write(path, name_columns(task, prefix), add_values())
    return Summary(mix, rows, failed, review, labels, compared)


def write_structure(
    table: Table, reading: Reading, journal: Journal, task: ServedTask, mix: Mix, path: Path
) -> None:
    """Write the IRF structure of each dialogue, a line of JSON each; rows without text are no
    turns. A dialogue in which a turn has no label has `null`: a gap would falsify it."""
    pairs = zip(table.rows(), read_settled(journal, task, mix), strict=True)
    with open_whole(path) as file:
        for dialogue, group in itertools.groupby(
            pairs, lambda pair: find_dialogue(pair[0], reading)
        ):
            turns = [
                (answer, speaker, text)
                for row, answer in group
                if (text := read_text(table, row, reading.columns.text))
                and (speaker := find_speaker(table, row, reading))
            ]
            labelled = [
                LabelledTurn(speaker, text, answer["label"], task.groups[answer["label"]])
                for answer, speaker, text in turns
                if "label" in answer
            ]
            whole = bool(turns) and len(labelled) == len(turns)
            structure = describe_structure(labelled).model_dump() if whole else None
            content = {"dialogue": dialogue, "turns": len(turns), "structure": structure}
            file.write(json.dumps(content, ensure_ascii=False) + "\n")


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
    """In the order of `name_columns`; empty where there is nothing."""
    known = {**answer, "model": task.model}
    probabilities = answer.get("probabilities", {})
    values = [
        *(known.get(name, "") for name in _FIELDS),
        *(probabilities.get(label, "") for label in task.groups),
    ]
    return [round(value, _DIGITS) if isinstance(value, float) else value for value in values]
