"""Calibrating a finished checkpoint on data of one's own: `ncal calibrate`."""

import datetime
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.manifest import MANIFEST_NAME, WEIGHTS_NAME, Manifest, Task, hash_file, write_manifest
from training.checkpoints.export import describe_measurement, write_card
from training.checkpoints.read_checkpoint import (
    name_trained_on,
    open_checkpoint,
    read_labelled,
    score_modes,
)
from training.checkpoints.work_folder import RECIPE_NAME
from training.data.examples import Example, measure_prior
from training.errors import BadInput
from training.evaluation.behaviour import describe_behaviour
from training.evaluation.cv_evaluation import summarize
from training.recipe.recipe import TrainRecipe
from training.reporting.model_card import CARD_NAME
from training.statistics.conformal import cross_fit_views, fit_thresholds
from training.statistics.metrics import evaluate_task
from training.statistics.scaling import fit_scaling


def calibrate_checkpoint(
    folder: Path,
    data: Sequence[Path],
    *,
    format: str,
    task: str,
    output: Path,
    coverage: float | None = None,
    folds: int = 5,
    replace_prior: bool = False,
) -> Manifest:
    """Write a new checkpoint with the same weights and one head calibrated on labelled data.

    Temperature, biases and thresholds come from all the data. All that is stated is
    cross-fitted: measured on items that set none of them. `coverage` is the aim of
    the prediction sets (the head's own by default); with `replace_prior` the class mix of
    these data becomes the training prior. The checkpoint that was read stays as it is.
    Raises BadInput if the data cannot calibrate it or the new one cannot be written.
    """
    manifest, head = open_checkpoint(folder, task)
    _check_options(output, coverage, folds)
    examples = read_labelled(data, format, head, folder)
    _check_data(manifest, head, data, examples, folds)
    logits = score_modes(folder, head, [example.item for example in examples])
    labels = np.array([example.label for example in examples])
    prior = measure_prior(examples, head.label_set) if replace_prior else head.training_prior
    aim = head.conformal_coverage if coverage is None else coverage
    calibrated = _calibrate(head, logits, labels, np.array(prior), aim, folds)
    renewed = manifest.model_copy(
        update={
            "created": datetime.date.today().isoformat(),
            "tasks": tuple(calibrated if each is head else each for each in manifest.tasks),
        }
    )
    names = ", ".join(path.name for path in data)
    note = (
        f" Task `{task}` was calibrated anew on {names} ({len(examples):,} items): its figures, "
        f"temperature, biases and thresholds are of these data, cross-fitted in {folds} folds; "
        "what is said above of its training data does not hold for them."
    )
    _write(folder, output, renewed, note)
    print(f"temperature {head.temperature:.3f} before, {calibrated.temperature:.3f} now")
    print(summarize(task, calibrated.evaluation))
    print(f"checkpoint {output} ({renewed.fingerprint})")
    return renewed


def _check_options(output: Path, coverage: float | None, folds: int) -> None:
    if coverage is not None and not 0.0 < coverage < 1.0:
        raise BadInput(f"--coverage {coverage}: must lie between 0 and 1, say 0.9")
    if folds < 2:
        raise BadInput(f"--folds {folds}: cross-fitting needs 2 or more")
    if output.exists():
        raise BadInput(f"{output}: exists; choose a new folder, a checkpoint is never overwritten")


def _check_data(
    manifest: Manifest, head: Task, data: Sequence[Path], examples: Sequence[Example], folds: int
) -> None:
    if trained_on := name_trained_on(manifest, {str(path): hash_file(path) for path in data}):
        raise BadInput(
            f"{', '.join(trained_on)}: the checkpoint was trained on it, and its answers there "
            "are surer than on new texts; calibrate on data it has not seen"
        )
    counts = Counter(example.label for example in examples)
    for index, label in enumerate(head.label_set.labels):
        if counts[index] < folds:
            raise BadInput(
                f"class {label.id!r} of {head.label_set.task!r} has {counts[index]} examples in "
                f"{', '.join(map(str, data))}, fewer than the {folds} folds; add examples or "
                "lower --folds"
            )


def _calibrate(
    head: Task,
    logits: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
    coverage: float,
    folds: int,
) -> Task:
    pooled = np.concatenate(list(logits.values()))
    truth = np.tile(labels, len(logits))
    scaling = fit_scaling(pooled, truth, views=len(logits))
    crossed = cross_fit_views(logits, labels, prior, folds=folds, coverage=coverage)
    evaluation = {
        mode: evaluate_task(each.logits, labels, head.label_set.ids, prior)
        | {"cross_fit": each.figures, **scaling.describe()}
        for mode, each in crossed.items()
    }
    changes: dict[str, Any] = {
        **scaling.describe(),
        "training_prior": prior.tolist(),
        "conformal_thresholds": fit_thresholds(
            scaling.apply(pooled), truth, coverage, views=len(logits)
        ),
        "conformal_coverage": coverage,
        "evaluation": evaluation,
    }
    return Task.model_validate(head.model_dump() | changes)


def _write(folder: Path, output: Path, manifest: Manifest, note: str) -> None:
    """A folder with everything of the old one but manifest and card, whole or not at all."""
    recipe = _read_recipe(folder)
    staging = output.with_name(output.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for path in folder.iterdir():
            if path.is_file() and path.name not in (MANIFEST_NAME, CARD_NAME):
                _link_or_copy(path, staging / path.name)
        write_manifest(manifest, staging)
        if recipe is not None:
            measured = describe_measurement(recipe, manifest) + note
            behaviour = describe_behaviour(recipe, staging)
            write_card(recipe, staging, manifest, measured, behaviour)
        staging.rename(output)
    except (OSError, BadInput) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise BadInput(
            f"{output}: cannot be written: {error}; free space or choose another place"
        ) from error


def _link_or_copy(source: Path, target: Path) -> None:
    if source.name == WEIGHTS_NAME:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copy(source, target)


def _read_recipe(folder: Path) -> TrainRecipe | None:
    """What a new model card needs; the old one states old figures and is not taken over."""
    try:
        recipe = TrainRecipe.read(folder / RECIPE_NAME)
    except BadInput as error:
        print(f"no model card is written: {error}")
        return None
    if recipe.card is None:
        print(f"no model card is written: {folder / RECIPE_NAME} says nothing of data and licence")
    return recipe
