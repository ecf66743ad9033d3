"""Evaluations as Markdown tables: for the report, the model card and the terminal.

`results` maps the name of a measured set (`irf/live`) to what `evaluate_task` returned,
with the answer of `cross_fit` under `cross_fit` where it was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from contract.labels import LabelSet
from training.statistics.confusion import class_scores, equalize_classes, summarize_confusion

Results = Mapping[str, Mapping[str, Any]]


def write_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool = True
) -> str:
    """A Markdown table; all columns but the first are `figures` (set flush right) or text."""
    rule = ["---"] + ["---:" if figures else "---"] * (len(header) - 1)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def align_table(table: str) -> str:
    """A Markdown table for the terminal: columns under one another, no rules."""
    header, rule, *rows = [
        [cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "".join(
        "  ".join(
            cell.rjust(width) if mark.endswith(":") else cell.ljust(width)
            for cell, width, mark in zip(row, widths, rule, strict=True)
        ).rstrip()
        + "\n"
        for row in (header, *rows)
    )


_VARIANTS = {
    "without_recurring": "less texts that recur in training",
    "zero_shot": "before training (zero-shot)",
    "test": "test",
}


def tabulate_summary(results: Results) -> str:
    """Macro recall, accuracy and macro F1 with 95% intervals, macro precision and kappa.

    Below a set stand, where they were measured, its items less those whose text recurs in
    the training data, and the answers before any training.
    """
    header = ["set", "items", "macro recall", "accuracy", "macro precision", "macro F1",
              "macro F1, equal classes", "kappa"]  # fmt: skip
    rows = []
    for name, result in results.items():
        rows.append([name, *_headline(result)])
        for key, meaning in _VARIANTS.items():
            if key in result:
                rows.append([f"{name}, {meaning}", *_headline(result[key])])
    return write_table(header, rows)


def _headline(result: Mapping[str, Any]) -> list[str]:
    recall, accuracy, f1 = (
        _with_interval(result[key], result["intervals"][key])
        for key in ("macro_recall", "accuracy", "macro_f1")
    )
    precision = _figure(_average_precision(result))
    rest = [_figure(result[key]) for key in ("macro_f1_uniform", "kappa")]
    return [str(result["items"]), recall, accuracy, precision, f1, *rest]


def _average_precision(result: Mapping[str, Any]) -> float | None:
    """Macro precision; evaluations of before it was stated have only their confusion matrix."""
    if "macro_precision" in result or "confusion" not in result:
        return result.get("macro_precision")
    return summarize_confusion(np.array(result["confusion"]))["macro_precision"]


def tabulate_calibration(results: Results) -> str:
    """Calibration under both priors, and prediction sets; cross-fitted where measured so."""
    header = ["set", "temperature", "ECE uniform", "ECE training", "Brier uniform",
              "Brier training", "coverage", "set size"]  # fmt: skip
    rows = []
    for name, result in results.items():
        crossed = result.get("cross_fit")
        scores = crossed["after"] if crossed else result
        keys = ("ece_uniform", "ece_training", "brier_uniform", "brier_training")
        sets = crossed["sets"] if crossed else result.get("sets", {})
        rows.append([
            name,
            _figure(result["temperature"]),
            *(_figure(scores[key]) for key in keys),
            _figure(sets.get("coverage")),
            _figure(sets.get("set_size"), digits=2),
        ])  # fmt: skip
    return write_table(header, rows)


def tabulate_groups(results: Results) -> str:
    """Macro recall of the frequent, middle and rare classes; answers under the training prior."""
    header = ["set", "many", "medium", "few", "accuracy, training prior",
              "macro recall, training prior", "macro precision, training prior"]  # fmt: skip
    rows = []
    for name, result in results.items():
        groups = [
            _figure(result["groups"][key]["macro_recall"]) for key in ("many", "medium", "few")
        ]
        answers = result["training_prior_answers"]
        averages = ("accuracy", "macro_recall", "macro_precision")
        rows.append([name, *groups, *(_figure(answers.get(key)) for key in averages)])
    return write_table(header, rows)


def tabulate_baseline(results: Results) -> str:
    """How much better than the n-grams on the same items, with paired intervals; empty where the
    baseline was not measured."""
    averages = ("macro_recall", "accuracy", "macro_precision")
    rows = [
        [
            name,
            *(
                _with_interval(beside[key]["difference"], beside[key]["interval"])
                for key in averages
            ),
        ]
        for name, result in results.items()
        if (beside := result.get("beside_baseline"))
    ]
    return write_table(["set", "macro recall", "accuracy", "macro precision"], rows) if rows else ""


def tabulate_classes(result: Mapping[str, Any], label_set: LabelSet) -> str:
    """One row a class: name, items, recall with its interval, precision, F1.

    Precision stands twice, as it depends on how frequent classes are: equally, and as in the
    data. Answers under the training prior have their own recall and precision, where measured.
    """
    header = ["class", "items", "recall", "precision, equal classes", "precision, mix of the data",
              "F1"]  # fmt: skip
    adjusted = result["training_prior_answers"].get("per_class")
    if adjusted:
        header += ["recall, training prior", "precision, training prior"]
    equal = class_scores(equalize_classes(np.array(result["confusion"])))[0]
    rows = []
    for index, label in enumerate(label_set.labels):
        scores = result["per_class"][label.id]
        recall = _with_interval(scores["recall"], scores["recall_interval"])
        rest = [_figure(value) for value in (equal[index], scores["precision"], scores["f1"])]
        if adjusted:
            rest += [_figure(adjusted[label.id][key]) for key in ("recall", "precision")]
        rows.append([f"{label.id} ({label.name_en})", str(scores["support"]), recall, *rest])
    return write_table(header, rows)


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
