"""What a comparison of settings found, as Markdown: every sentence follows from a figure."""

import datetime
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from contract.manifest import CheckpointError, read_manifest
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe
from training.reporting.markdown_tables import tabulate_calibration, tabulate_summary, write_table
from training.statistics.effects import Estimate, Recalls, resample_recalls


class Measured(NamedTuple):
    """One measured set (`irf/live`): `hits` (rows, seeds, items), `labels` (items,)."""

    rows: tuple[str, ...]
    """A setting, or `SETTING, uncorrected`."""
    hits: NDArray[np.bool_]
    labels: NDArray[np.int64]
    few: tuple[int, ...]
    """The rarest third of the classes."""
    groups: NDArray[np.int64] | None = None
    """Of items that share text, where folds keep them together."""


class Cost(NamedTuple):
    """Mean time of a fit, of the wall clock and of all cores together."""

    seconds: float
    cpu_seconds: float


class Ablation(NamedTuple):
    """Everything the tables are made of; keys are settings, sets and tasks."""

    path: Path
    overrides: tuple[str, ...]
    recipes: dict[str, TrainRecipe]
    seeds: tuple[int, ...]
    items: int
    sets: dict[str, Measured]
    collapse: dict[str, dict[str, dict[str, float]]]
    costs: dict[str, Cost]


class _Figures(NamedTuple):
    """The resampled figures of one set; rows as in `Measured`."""

    rows: tuple[str, ...]
    recall: Recalls
    few: Recalls
    accuracy: Recalls

    def compare(self, row: str, reference: str) -> Estimate:
        return self.recall.compare(self.rows.index(row), self.rows.index(reference))


_HOW_READ = """\
Macro recall is the mean over seeds; it weighs every class the same. Intervals are 95%, by a
bootstrap over seeds and over groups of items that share text (items within their class, where
`evaluation.grouped` is false), the same draws for every setting, so
differences are paired. Few seeds understate how much other seeds would change. Nothing is
corrected for the number of comparisons: of twenty true zeros one is expected to look like an
effect. `few` is the macro recall of the rarest third of the classes. The answer is the most
probable class under the uniform prior: where the loss leaves the class mix of the training
data in the logits, its logarithm is subtracted. *Uncorrected* is the same model without that.
"""
_HOW_COLLAPSED = """\
At the end of training, on a sample of the training examples, mean over folds and seeds: NC1 is
spread within over spread between classes, NC2 the departure of the class means from equal
length and from the angles of a simplex (0 is full collapse). Times are those of one fit on the
machine above, compiling included; it may have done other work meanwhile, CPU time counts this
program's alone.
"""


def describe_ablation(ablation: Ablation, places: Sequence[str], beside: Path | None = None) -> str:
    """The whole results file; with `beside`, the evaluation of that checkpoint first.

    `places` are the options of the command that say where to read and write.
    """
    figures = {name: _measure(measured) for name, measured in ablation.sets.items()}
    parts = ["# Results\n", "Written by `python -m training ablate`; not to be edited by hand.\n"]
    if beside is not None:
        parts += _describe_checkpoint(beside)
    parts += [
        "## Which setting helps\n",
        _describe_run(ablation, places),
        _HOW_READ,
        _tabulate_settings(ablation),
    ]
    for name, each in figures.items():
        parts += [f"### {name}\n", _tabulate_set(each, ablation)]
    parts += ["### What helps\n", *_judge_settings(figures, ablation)]
    parts += ["### Collapse and cost\n", _HOW_COLLAPSED, _tabulate_collapse(ablation)]
    return "\n".join(parts)


def _measure(measured: Measured) -> _Figures:
    everything = np.unique(measured.labels).tolist()
    recall, few, accuracy = resample_recalls(
        measured.hits, measured.labels, [everything, measured.few], groups=measured.groups
    )
    return _Figures(measured.rows, recall, few, accuracy)


def _describe_checkpoint(folder: Path) -> list[str]:
    try:
        manifest = read_manifest(folder)
    except CheckpointError as error:
        raise BadInput(str(error)) from error
    results = {
        f"{task.label_set.task}/{mode}": metrics
        for task in manifest.tasks
        for mode, metrics in task.evaluation.items()
    }
    return [
        f"## The checkpoint {manifest.name}\n",
        f"As its manifest states it (written {manifest.created}, fingerprint "
        f"`{manifest.fingerprint}`; how it was measured and built again: the README.md beside "
        "its weights).\n",
        tabulate_summary(results),
        tabulate_calibration(results),
    ]


def _describe_run(ablation: Ablation, places: Sequence[str]) -> str:
    recipe = next(iter(ablation.recipes.values()))
    options = [
        f"--recipe {ablation.path}",
        f"--presets {','.join(ablation.recipes)}",
        f"--seeds {','.join(map(str, ablation.seeds))}",
        *places,
        *ablation.overrides,
    ]
    command = " \\\n  ".join(["python -m training ablate", *options])
    return (
        f"{recipe.evaluation.folds}-fold cross-validation of {ablation.items:,} examples, "
        f"{_count(len(ablation.seeds), 'seed')}, "
        f"{_count(recipe.optimisation.epochs, 'epoch')}, backbone {Path(recipe.backbone).name}; "
        f"{datetime.date.today().isoformat()}, {_name_machine()}.\n"
        f"\n```\n{command}\n```\n"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _name_machine() -> str:
    if torch.cuda.is_available():
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{os.cpu_count()} cores of {_name_processor()}"
    return f"{machine}, torch {torch.__version__}, transformers {transformers.__version__}"


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _tabulate_settings(ablation: Ablation) -> str:
    rows = []
    for setting, recipe in ablation.recipes.items():
        loss = recipe.loss.model_dump(exclude_defaults=True)
        loss.pop("name")
        options = [recipe.loss.name, *(f"{key} {value}" for key, value in loss.items())]
        head = f"{recipe.head.init}, {'trained' if recipe.head.trainable else 'fixed'}"
        sampling = recipe.optimisation.sampling
        rows.append([setting, ", ".join(options), head, sampling, _describe_teacher(recipe)])
    header = ["setting", "loss", "head", "sampling", "teacher's share"]
    return write_table(header, rows, figures=False)


def _describe_teacher(recipe: TrainRecipe) -> str:
    if recipe.distillation is None:
        return "–"
    shares = [f"{task} {share}" for task, share in recipe.distillation.weights.items()]
    texts = [
        f"{'all' if each.per_epoch is None else f'{each.per_epoch:,}'} unlabelled {each.task} texts"
        for each in recipe.support
        if not each.labelled
    ]
    return ", ".join(shares + texts)


def _tabulate_set(figures: _Figures, ablation: Ablation) -> str:
    reference = _find_reference(ablation)
    plain = f"{reference}, uncorrected"
    references = [row for row in (reference, plain) if row in figures.rows]
    header = ["setting", "macro recall", *(f"less {row}" for row in references), "few", "accuracy"]
    rows = []
    for index, row in enumerate(figures.rows):
        rows.append([
            row,
            _state(figures.recall.estimate(index)),
            *("–" if row == each else _state(figures.compare(row, each), signed=True)
              for each in references),
            _state(figures.few.estimate(index)),
            _state(figures.accuracy.estimate(index)),
        ])  # fmt: skip
    return write_table(header, rows)


def _judge_settings(figures: dict[str, _Figures], ablation: Ablation) -> list[str]:
    """A sentence for each comparison: every row with the reference, then one part by itself."""
    reference = _find_reference(ablation)
    rows = next(iter(figures.values())).rows
    lines = [
        f"- `{row}` against `{reference}`: {_judge(figures, row, reference)}"
        for row in rows
        if row != reference
    ]
    parts = (("TC", _has_tc, _leave_out_tc), ("Teacher", _has_teacher, _leave_out_teacher))
    for part, has_part, leave_out in parts:
        for setting, without in _pair_settings(ablation.recipes, has_part, leave_out):
            if without != reference:
                line = _judge(figures, setting, without)
                lines.append(f"- {part} alone, `{setting}` against `{without}`: {line}")
    return ["\n".join(lines) + "\n"]


def _judge(figures: dict[str, _Figures], row: str, reference: str) -> str:
    words = {1: "higher", 0: "no difference shown", -1: "lower"}
    parts = []
    for name, each in figures.items():
        effect = each.compare(row, reference)
        parts.append(f"{name} {words[effect.direction]}, {_state(effect, signed=True)}")
    return "; ".join(parts) + "."


def _pair_settings(
    recipes: dict[str, TrainRecipe],
    has_part: Callable[[TrainRecipe], bool],
    leave_out: Callable[[TrainRecipe], TrainRecipe],
) -> list[tuple[str, str]]:
    """Settings that differ in nothing but one part: with it, without it."""
    rest = {
        name: leave_out(recipe).model_dump_json(exclude={"work"})
        for name, recipe in recipes.items()
    }
    having = {name for name, recipe in recipes.items() if has_part(recipe)}
    return [
        (name, other)
        for name in recipes
        for other in recipes
        if name in having and other not in having and rest[name] == rest[other]
    ]


def _has_tc(recipe: TrainRecipe) -> bool:
    return recipe.loss.tc_weight > 0.0


def _leave_out_tc(recipe: TrainRecipe) -> TrainRecipe:
    loss = recipe.loss.model_copy(
        update={"tc_weight": 0.0, "tc_max_norm": 1.0, "tc_pairs": "different"}
    )
    return recipe.model_copy(update={"loss": loss})


def _has_teacher(recipe: TrainRecipe) -> bool:
    return recipe.distillation is not None


def _leave_out_teacher(recipe: TrainRecipe) -> TrainRecipe:
    labelled = [each for each in recipe.support if each.labelled]
    return recipe.model_copy(update={"distillation": None, "support": labelled})


def _tabulate_collapse(ablation: Ablation) -> str:
    tasks = list(next(iter(ablation.collapse.values())))
    keys = {"nc1": "NC1", "nc2_norms": "NC2 lengths", "nc2_angles": "NC2 angles"}
    header = ["setting", *(f"{task} {title}" for task in tasks for title in keys.values()),
              "seconds a fit", "CPU seconds"]  # fmt: skip
    rows = []
    for setting, cost in ablation.costs.items():
        ends = ablation.collapse[setting]
        cells = [f"{ends[task][key]:.3f}" for task in tasks for key in keys]
        rows.append([setting, *cells, f"{cost.seconds:.0f}", f"{cost.cpu_seconds:.0f}"])
    return write_table(header, rows)


def _find_reference(ablation: Ablation) -> str:
    return "ce" if "ce" in ablation.recipes else next(iter(ablation.recipes))


def _state(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
