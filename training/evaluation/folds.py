"""Which fold holds which example out: the folds of every cross-validation."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from training.data.examples import Example
from training.data.groups import group_examples
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe
from training.statistics.probabilities import Ints


def deal_examples(recipe: TrainRecipe, examples: Sequence[Example]) -> Ints:
    """The recipe's folds of the examples, shape (n,).

    Raises BadInput when there are fewer groups than folds, or grouping leaves a training part
    without a class.
    """
    evaluation, groups = recipe.evaluation, find_groups(recipe, examples)
    if groups is not None and len(np.unique(groups)) < evaluation.folds:
        raise BadInput(
            f"the examples are {len(np.unique(groups))} groups that share text, fewer than the "
            f"{evaluation.folds} folds; add others, or set evaluation.grouped to false"
        )
    numbers = split_folds(examples, evaluation.folds, evaluation.seed, groups)
    classes = {(example.task, example.label) for example in examples}
    for fold in range(evaluation.folds):
        inside = {(examples[i].task, examples[i].label) for i in np.flatnonzero(numbers != fold)}
        if missing := sorted(classes - inside):
            task, label = missing[0]
            raise BadInput(
                f"class {label} of {task!r} lies in one group of examples that share text, so one "
                "fold holds all of it; add others, or set evaluation.grouped to false"
            )
    return numbers


def find_groups(recipe: TrainRecipe, examples: Sequence[Example]) -> Ints | None:
    """Number of the group of each example, shape (n,); None where folds are dealt at random."""
    return group_examples(examples) if recipe.evaluation.grouped else None


def split_folds(
    examples: Sequence[Example], folds: int, seed: int, groups: Ints | None = None
) -> Ints:
    """Number of the fold of each example, shape (n,); stratified by task and class.

    `groups` (n,) are kept whole; None deals each example by itself.
    """
    strata = [f"{example.task}/{example.label}" for example in examples]
    numbers = np.empty(len(examples), dtype=np.int64)
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = splitter(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(parts.split(np.zeros(len(examples)), strata, groups)):
        numbers[held_out] = number
    return numbers
