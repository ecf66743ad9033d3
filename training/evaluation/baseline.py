"""The bar to beat: character n-grams and logistic regression, on the very same folds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.labels import LabelSet
from training.data.examples import Example, measure_prior, read_examples, read_label_sets
from training.evaluation.folds import deal_examples, find_groups
from training.files import read_arrays, write_arrays
from training.models.ngrams import NgramClassifier
from training.recipe.recipe import TrainRecipe
from training.statistics.conformal import cross_fit_views
from training.statistics.metrics import evaluate_task
from training.statistics.probabilities import Floats, Ints


def measure_baseline(recipe: TrainRecipe) -> dict[str, dict[str, Any]]:
    """Print and return what `evaluate_task` says of the n-gram classifier for each task.

    Context counts as text of its own; answers are those under the uniform prior, calibrated as
    a checkpoint's are: by a scaling that other items set. Calibrated logits are kept in the
    recipe's `work`, for a report of the recipe to be compared with.
    """
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    numbers, groups = deal_examples(recipe, examples), find_groups(recipe, examples)
    results: dict[str, dict[str, Any]] = {}
    kept: dict[str, NDArray[Any]] = {}
    for task in dict.fromkeys(example.task for example in examples):
        places = np.array([i for i, example in enumerate(examples) if example.task == task])
        own = [examples[i] for i in places]
        own_groups = None if groups is None else groups[places]
        logits, results[task] = _measure(label_sets[task], own, numbers[places], own_groups)
        labels = np.array([example.label for example in own])
        kept |= {f"{task}-logits": logits, f"{task}-labels": labels}
        kept[f"{task}-folds"] = numbers[places]
        print(_summarize(task, results[task]), flush=True)
    recipe.work.mkdir(parents=True, exist_ok=True)
    write_arrays(_baseline_file(recipe), kept)
    return results


def read_baseline(recipe: TrainRecipe, task: str, labels: Ints, folds: Ints) -> Floats | None:
    """Calibrated held-out logits (n, K) that `measure_baseline` kept for the items with these
    labels (n,) in these folds (n,); None where it was not run on them."""
    path = _baseline_file(recipe)
    arrays = read_arrays(path) if path.exists() else {}
    for name, own in (("labels", labels), ("folds", folds)):
        if not np.array_equal(arrays.get(f"{task}-{name}", np.empty(0)), own):
            return None
    logits: Floats = arrays[f"{task}-logits"]
    return logits


def _baseline_file(recipe: TrainRecipe) -> Path:
    return recipe.work / "baseline.npz"


def _measure(
    label_set: LabelSet, examples: Sequence[Example], numbers: Ints, groups: Ints | None
) -> tuple[Floats, dict[str, Any]]:
    labels = np.array([example.label for example in examples])
    classes = len(label_set.labels)
    logits = np.empty((len(examples), classes))
    for fold in np.unique(numbers):
        held_out = numbers == fold
        training = [examples[i].item for i in np.flatnonzero(~held_out)]
        model = NgramClassifier(training, labels[~held_out], classes)
        items = [examples[i].item for i in np.flatnonzero(held_out)]
        logits[held_out] = model.predict_logits(items)
    prior = np.array(measure_prior(examples, label_set))
    crossed = cross_fit_views(
        {"": logits},
        labels,
        prior,
        folds=len(np.unique(numbers)),
        places=None if groups is None else numbers,
    )[""]
    figures = evaluate_task(crossed.logits, labels, label_set.ids, prior, groups=groups)
    return crossed.logits, figures | {"cross_fit": crossed.figures}


def _summarize(task: str, figures: dict[str, Any]) -> str:
    low, high = figures["intervals"]["macro_recall"]
    raw, sets = figures["cross_fit"]["before"]["macro_recall"], figures["cross_fit"]["sets"]
    training = figures["training_prior_answers"]
    return (
        f"{task}: macro recall {figures['macro_recall']:.4f} [{low:.3f}, {high:.3f}], without "
        f"biases {raw:.4f}; accuracy {figures['accuracy']:.3f}, macro precision "
        f"{figures['macro_precision']:.3f}; under the training prior accuracy "
        f"{training['accuracy']:.3f}, macro recall {training['macro_recall']:.3f}, macro precision "
        f"{training['macro_precision']:.3f}; coverage {sets['coverage']:.3f}"
    )
