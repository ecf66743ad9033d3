"""An evaluation as files that people read: JSON, Markdown and PNG."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from contract.labels import LabelSet
from training.errors import BadInput
from training.reporting.markdown_tables import (
    Results,
    tabulate_baseline,
    tabulate_calibration,
    tabulate_classes,
    tabulate_groups,
    tabulate_summary,
)
from training.reporting.model_card import write_model_card
from training.reporting.plots import (
    draw_classes,
    draw_collapse,
    draw_confusion,
    draw_projection,
    draw_reliability,
)

__all__ = ["write_model_card", "write_report"]

Arrays = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
History = Mapping[str, Sequence[Mapping[str, float]]]

_HOW_MEASURED = """\
The answer is the most probable class under the uniform prior. Brackets hold 95% intervals:
of averages by bootstrap, whole groups of items that share text resampled where they are known,
else items within their class; of a class's recall by Wilson. They tell of the choice of items, not
of the seed of the training. Macro averages weigh every
class the same. Macro F1 depends on the class mix of the items; the next column gives it at
equal class sizes.
"""
_HOW_CALIBRATED = """\
ECE has 15 bins of equal width over the probability of the answer; Brier is the squared
distance to the one-hot label (0 to 2). Under the uniform prior every class weighs the same,
under the training prior items are weighted to the class mix of the training data, and the
probabilities are those for that prior. Where coverage is given, temperature, biases and
thresholds were set on other items than those measured, and all figures are of the answers after
that, and scores are those of several models, each held out: what is promised of the model that
is served follows from theirs. Coverage and set size are at equal class sizes.
"""
_HOW_COMPARED = """\
How much more than the n-gram baseline (`python -m training baseline`) on the same folds; brackets
hold the 95% interval of the difference, both counted on the same resamples.
"""
_HOW_GROUPED = """\
Macro recall of the classes in thirds by frequency in training, and of the answers for traffic
of the training mix (most probable class under the training prior).
"""


def write_report(
    folder: Path,
    results: Results,
    arrays: Arrays,
    label_sets: Sequence[LabelSet],
    *,
    features: Arrays | None = None,
    collapse: History | None = None,
    note: str = "",
) -> None:
    """Write `results.json`, `report.md` and the figures it shows into `folder`.

    `results` maps a measured set to the answer of `evaluate_task`; the name of a set is the
    task, or the task and a mode (`irf/live`). `arrays` maps the same names to logits (items,
    K) and labels (items,), whose principal components are drawn; `features` holds features
    (items, rows) of one fold in the span of its head, and their labels, to draw instead where
    they are known. `collapse` maps a task
    to entries of `step` and `measure_collapse` over training; `note` says what was measured.

    Raises BadInput if the folder cannot be written, ValueError if a set belongs to none of
    the label sets or has no array.
    """
    by_task = {label_set.task: label_set for label_set in label_sets}
    unknown = sorted({name.split("/")[0] for name in results} - set(by_task))
    if unknown or set(results) - set(arrays):
        raise ValueError(f"label sets and arrays do not cover {', '.join(unknown or results)}")
    staging = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        text = json.dumps(results, indent=2, ensure_ascii=False)
        (staging / "results.json").write_text(text + "\n", encoding="utf-8")
        sections = [_introduce(results, note)]
        for name, result in results.items():
            sections.append(_describe_set(staging, name, result, by_task))
            sections.append(_show_projection(staging, name, result, arrays, features, by_task))
        for task, history in (collapse or {}).items():
            path = staging / f"{task}-nc.png"
            draw_collapse(history, f"Neural collapse in training: {task}", path)
            sections.append(f"## {task}: neural collapse\n\n![NC1 to NC4]({path.name})\n")
        (staging / "report.md").write_text("\n".join(sections), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for path in staging.iterdir():
            path.replace(folder / path.name)
    except OSError as error:
        raise BadInput(
            f"{folder}: the report cannot be written ({error}); choose another folder or free space"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _show_projection(
    folder: Path,
    name: str,
    result: Mapping[str, Any],
    arrays: Arrays,
    features: Arrays | None,
    by_task: Mapping[str, LabelSet],
) -> str:
    drawn = features is not None and name in features
    what = "Features of one fold, in the span of the head" if drawn else "Logits"
    vectors, labels = {**arrays, **(features or {})}[name]
    path = folder / f"{name.replace('/', '-')}-projection.png"
    draw_projection(
        vectors, labels, result["label_ids"], f"{what}: {_name_set(name, by_task)}", path
    )
    return f"![{what}, first two principal components]({path.name})\n"


def _introduce(results: Results, note: str) -> str:
    return "\n".join([
        "# Evaluation\n",
        *([f"{note}\n"] if note else []),
        _HOW_MEASURED,
        tabulate_summary(results),
        _HOW_CALIBRATED,
        tabulate_calibration(results),
        _HOW_GROUPED,
        tabulate_groups(results),
        *([_HOW_COMPARED, baseline] if (baseline := tabulate_baseline(results)) else []),
    ])  # fmt: skip


def _describe_set(
    folder: Path, name: str, result: Mapping[str, Any], by_task: Mapping[str, LabelSet]
) -> str:
    stem, title = name.replace("/", "-"), _name_set(name, by_task)
    draw_classes(result, title, folder / f"{stem}-classes.png")
    draw_confusion(result, title, folder / f"{stem}-confusion.png")
    draw_reliability(result, title, folder / f"{stem}-reliability.png")
    return "\n".join([
        f"## {name}\n",
        tabulate_classes(result, by_task[name.split("/")[0]]),
        f"![Scores of each class]({stem}-classes.png)\n",
        f"![Confusion matrix]({stem}-confusion.png)\n",
        f"![Reliability diagram]({stem}-reliability.png)\n",
    ])  # fmt: skip


def _name_set(name: str, by_task: Mapping[str, LabelSet]) -> str:
    task, *mode = name.split("/")
    return ", ".join([by_task[task].name, *mode])
