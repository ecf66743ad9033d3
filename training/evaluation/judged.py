"""Held-out answers of a run, wherever they come from: all folds, one fold, or a file of its own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.checkpoints.work_folder import final_folder, load_final
from training.data.examples import Example, read_examples, read_label_sets
from training.data.recurrence import find_recurring
from training.data.sampling import thin_out
from training.data.support import Support
from training.errors import BadInput
from training.evaluation.crossvalidate import (
    HeldOut,
    fold_file,
    read_held_out,
    read_parts,
    score_held_out,
)
from training.evaluation.folds import deal_examples, find_groups, split_folds
from training.files import write_arrays
from training.recipe.recipe import LabelledFile, TrainRecipe
from training.statistics.probabilities import Ints

_LEAST = 2
"""Examples of a class in `dev`: one calibrates, the other is measured."""


class Judged(NamedTuple):
    """Held-out answers, and what must be known of their items to measure them."""

    examples: Sequence[Example]
    """What `HeldOut.places` counts in."""
    held_out: dict[str, dict[str, HeldOut]]
    """Task → mode → scores."""
    groups: Ints | None
    """Group of each of the examples (n,); None where they were dealt at random."""
    parts: Mapping[str, Ints | None]
    """Task → part of each item (items,), in which calibration is cross-fitted; None: at random."""
    recurring: Mapping[str, NDArray[np.bool_]]
    """Task → whether the text of an item (items,) stands in what its model was trained on."""
    measured_on: str
    """As `TrainRecipe.measured_on` has it."""
    scores: Path
    """Where the features of one model are kept, for its picture."""
    run_folder: Path
    """The fit of that model."""


def judge_folds(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    folds: Sequence[int] | None = None,
) -> Judged:
    """Kept folds: of all examples or, where `folds` are named, of those held out there."""
    held_out = read_held_out(recipe, examples, label_sets, folds)
    numbers, groups = deal_examples(recipe, examples), find_groups(recipe, examples)
    parts, recurring = {}, {}
    for task, modes in held_out.items():
        first = next(iter(modes.values()))
        parts[task] = None if groups is None else first.folds
        if folds is not None:
            parts[task] = _deal_parts(recipe, [examples[i] for i in first.places], groups, first)
        recurring[task] = _find_recurring(recipe, examples, numbers, first)
    return Judged(
        examples=examples,
        held_out=held_out,
        groups=groups,
        parts=parts,
        recurring=recurring,
        measured_on="cross-validation" if folds is None else "one fold",
        scores=fold_file(recipe, 0),
        run_folder=recipe.work / "fold-0",
    )


def judge_dev(
    recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> Judged:
    """The answers of the final model to `recipe.dev`, which `score_dev` kept."""
    dev = read_dev(recipe)
    numbers = np.zeros(len(dev), dtype=np.int64)
    held_out = read_parts({0: _dev_file(recipe)}, numbers, dev, label_sets)
    groups = find_groups(recipe, dev)
    training = thin_out(recipe, examples)
    parts, recurring = {}, {}
    for task, modes in held_out.items():
        first = next(iter(modes.values()))
        own = [dev[i] for i in first.places]
        parts[task] = _deal_parts(recipe, own, groups, first)
        known = [each.item for each in training if each.task == task]
        recurring[task] = find_recurring([each.item for each in own], known)
    return Judged(
        examples=dev,
        held_out=held_out,
        groups=groups,
        parts=parts,
        recurring=recurring,
        measured_on="dev",
        scores=_dev_file(recipe),
        run_folder=recipe.work / "final",
    )


def score_dev(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> None:
    """Keep what the final model answers to `recipe.dev`; nothing where that was done before."""
    path = _dev_file(recipe)
    if path.exists():
        return
    training = thin_out(recipe, examples)
    model = load_final(recipe)
    scores = score_held_out(
        recipe, model, training, read_dev(recipe), label_sets, tokenizer, support
    )
    write_arrays(path, scores)


def read_dev(recipe: TrainRecipe) -> list[Example]:
    """The examples of `recipe.dev`; BadInput if a class has too few to calibrate and measure."""
    examples = _read(recipe, recipe.dev)
    known = read_label_sets(recipe.label_sets)
    counts = Counter((example.task, example.label) for example in examples)
    for task in dict.fromkeys(source.task for source in recipe.dev):
        for index, label in enumerate(known[task].labels):
            if counts[task, index] < _LEAST:
                files = ", ".join(str(each.path) for each in recipe.dev if each.task == task)
                raise BadInput(
                    f"{files}: class {label.id!r} of {task!r} has {counts[task, index]} examples, "
                    f"and {_LEAST} are needed to calibrate; add some, or leave `dev` out: then it "
                    "is cross-validated"
                )
    return examples


def read_test(recipe: TrainRecipe) -> list[Example]:
    """The examples of `recipe.test`; a class may have none."""
    return _read(recipe, recipe.test)


def _read(recipe: TrainRecipe, files: Sequence[LabelledFile]) -> list[Example]:
    examples = read_examples(files, read_label_sets(recipe.label_sets), folds=0)
    tasks = {example.task for example in examples}
    if empty := [each for each in files if each.task not in tasks]:
        raise BadInput(f"{empty[0].path}: no example in it")
    return examples


def _dev_file(recipe: TrainRecipe) -> Path:
    """In the form of `training.evaluation.crossvalidate.fold_file`."""
    return final_folder(recipe).with_name("dev.npz")


def _deal_parts(
    recipe: TrainRecipe, own: Sequence[Example], groups: Ints | None, held_out: HeldOut
) -> Ints | None:
    """Parts of one model's items, groups whole; None where they may be dealt at random."""
    if groups is None:
        return None
    inside = groups[held_out.places]
    count = min(recipe.evaluation.folds, len(np.unique(inside)))
    smallest = min(Counter(example.label for example in own).values())
    if min(count, smallest) < _LEAST:
        return None
    return split_folds(own, min(count, smallest), recipe.evaluation.seed, inside)


def _find_recurring(
    recipe: TrainRecipe, examples: Sequence[Example], numbers: Ints, held_out: HeldOut
) -> NDArray[np.bool_]:
    """Which held-out items (n,) have a text that the model of their fold was trained on."""
    recurring = np.empty(len(held_out.places), dtype=np.bool_)
    task = examples[held_out.places[0]].task
    for fold in np.unique(held_out.folds):
        inside = held_out.folds == fold
        others = [examples[i] for i in np.flatnonzero(numbers != fold) if examples[i].task == task]
        recurring[inside] = find_recurring(
            [examples[i].item for i in held_out.places[inside]],
            [each.item for each in thin_out(recipe, others)],
        )
    return recurring
