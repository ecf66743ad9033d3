"""Comparing settings of training: a grid of presets and seeds, all on the same folds."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.labels import LabelSet
from training.checkpoints.work_folder import check_work, read_collapse
from training.data.examples import Example, measure_prior
from training.errors import BadInput
from training.evaluation.crossvalidate import crossvalidate, fold_file, read_held_out
from training.evaluation.folds import find_groups
from training.evaluation.preparation import prepare
from training.files import read_arrays, write_text
from training.recipe.recipe import TrainRecipe
from training.reporting.ablation_report import Ablation, Cost, Measured, describe_ablation
from training.statistics.metrics import group_classes


class Cell(NamedTuple):
    """One cross-validation: a setting and a seed."""

    setting: str
    seed: int
    recipe: TrainRecipe


class Grid(NamedTuple):
    """All settings by all seeds; a cell is kept below the `work` of the base recipe."""

    path: Path
    overrides: tuple[str, ...]
    base: TrainRecipe
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    """Seed by seed, so that a grid that is broken off has all settings of the first seeds."""

    @classmethod
    def read(
        cls,
        path: Path,
        overrides: Sequence[str],
        *,
        presets: Sequence[str],
        seeds: Sequence[str],
        folds: int | None = None,
    ) -> "Grid":
        """A setting is the name of a preset, changed by `+key.path=value` if need be; its
        changes come after the overrides. Raises BadInput."""
        if folds is not None:
            overrides = [*overrides, f"evaluation.folds={folds}"]
        base = TrainRecipe.read(path, overrides)
        numbers = [_read_seed(seed) for seed in seeds]
        for name, values in (("--presets", presets), ("--seeds", numbers)):
            if len(set(values)) != len(values) or "" in values:
                raise BadInput(f"{name} names one twice, or none: {', '.join(map(str, values))}")
        cells = []
        for seed in numbers:
            for setting in presets:
                preset, *changes = setting.split("+")
                recipe = TrainRecipe.read(
                    path,
                    [f"preset={preset}", *overrides, *changes, f"optimisation.seed={seed}"],
                )
                work = base.work / re.sub(r"[^A-Za-z0-9.-]+", "-", setting) / f"seed-{seed}"
                cells.append(Cell(setting, seed, recipe.model_copy(update={"work": work})))
        _check_different(cells)
        return cls(path, tuple(overrides), base, tuple(presets), tuple(numbers), tuple(cells))


def check_grid(grid: Grid) -> None:
    """Raise BadInput for what would stop the grid, short of the training itself."""
    prepare(grid.base)
    for cell in grid.cells:
        check_work(cell.recipe)


def ablate(grid: Grid, results: Path, *, beside: Path | None = None) -> None:
    """Cross-validate every cell and write the tables to `results`, anew after each seed.

    Finished folds are kept: a grid that was broken off goes on, and settings and seeds can
    be added later. Two processes may share a grid if their seeds differ.
    """
    for cell in grid.cells:
        check_work(cell.recipe)
    label_sets, examples, tokenizer = prepare(grid.base)
    for done, cell in enumerate(grid.cells, 1):
        print(f"{cell.setting}, seed {cell.seed}: cell {done} of {len(grid.cells)}", flush=True)
        crossvalidate(cell.recipe, examples, label_sets, tokenizer)
        if done % len(grid.settings) == 0:
            ablation = _collect(grid, done // len(grid.settings), examples, label_sets)
            command = [f"--results {results}", *([f"--beside {beside}"] if beside else [])]
            write_text(results, describe_ablation(ablation, command, beside))


def _read_seed(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"--seeds: {text!r} is not a whole number; write 0,1,2") from error


def _check_different(cells: Sequence[Cell]) -> None:
    seen: dict[str, str] = {}
    for cell in cells:
        plain = cell.recipe.model_dump_json(exclude={"work"})
        if plain in seen:
            raise BadInput(
                f"{seen[plain]} and {cell.setting} are the same setting; leave one of them out"
            )
        seen[plain] = cell.setting


def _collect(
    grid: Grid, seeds: int, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> Ablation:
    """What the first `seeds` seeds of all settings gave."""
    by_setting = {
        setting: [cell.recipe for cell in grid.cells if cell.setting == setting][:seeds]
        for setting in grid.settings
    }
    return Ablation(
        path=grid.path,
        overrides=grid.overrides,
        recipes={setting: recipes[0] for setting, recipes in by_setting.items()},
        seeds=grid.seeds[:seeds],
        items=len(examples),
        sets=_collect_sets(by_setting, examples, label_sets),
        collapse={
            setting: _average_collapse(recipes, label_sets)
            for setting, recipes in by_setting.items()
        },
        costs={setting: _average_cost(recipes) for setting, recipes in by_setting.items()},
    )


def _collect_sets(
    by_setting: dict[str, list[TrainRecipe]],
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
) -> dict[str, Measured]:
    """Set → hits of every row: a setting, and `SETTING, uncorrected` where that differs."""
    rows: dict[str, dict[str, list[NDArray[np.bool_]]]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    groups = find_groups(next(iter(by_setting.values()))[0], examples)
    own_groups: dict[str, NDArray[np.int64] | None] = {}
    for setting, recipes in by_setting.items():
        for recipe in recipes:
            for task, modes in read_held_out(recipe, examples, label_sets).items():
                for mode, scores in modes.items():
                    name, truth = f"{task}/{mode}", scores.labels
                    labels[name] = truth
                    own_groups[name] = None if groups is None else groups[scores.places]
                    own = rows.setdefault(name, {})
                    own.setdefault(setting, []).append(scores.logits.argmax(axis=1) == truth)
                    if recipe.loss.prior_left:
                        plain = scores.uncorrected.argmax(axis=1) == truth
                        own.setdefault(f"{setting}, uncorrected", []).append(plain)
    few = {
        label_set.task: group_classes(np.array(measure_prior(examples, label_set)))["few"]
        for label_set in label_sets
    }
    return {
        name: Measured(
            rows=tuple(own),
            hits=np.array(list(own.values())),
            labels=labels[name],
            few=tuple(few[name.split("/")[0]]),
            groups=own_groups[name],
        )
        for name, own in rows.items()
    }


def _average_collapse(
    recipes: Sequence[TrainRecipe], label_sets: Sequence[LabelSet]
) -> dict[str, dict[str, float]]:
    """Task → NC figures at the end of training, over the folds and seeds that have them."""
    ends: dict[str, list[dict[str, float]]] = {label_set.task: [] for label_set in label_sets}
    for recipe in recipes:
        for fold in range(recipe.evaluation.folds):
            for task, history in read_collapse(recipe.work / f"fold-{fold}").items():
                ends[task].append(history[-1])
    return {
        task: {key: float(np.mean([end[key] for end in own])) for key in own[0]}
        for task, own in ends.items()
        if own
    }


def _average_cost(recipes: Sequence[TrainRecipe]) -> Cost:
    folds = [
        read_arrays(fold_file(recipe, fold))
        for recipe in recipes
        for fold in range(recipe.evaluation.folds)
    ]
    return Cost(
        seconds=float(np.mean([fold["seconds"] for fold in folds])),
        cpu_seconds=float(np.mean([fold["cpu_seconds"] for fold in folds])),
    )
