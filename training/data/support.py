"""Examples that are trained on beside the labelled sources, but never held out or measured."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contract.labels import LabelSet
from training.data.examples import UNLABELLED, Example, read_examples, read_label_sets
from training.data.recurrence import normalize_text
from training.data.sampling import unlabelled_name
from training.recipe.recipe import SupportRecipe, TrainRecipe


class Support(NamedTuple):
    """What `recipe.support` adds to a fit."""

    examples: list[Example]
    """With labels."""
    unlabelled: list[Example]
    """Without, for the teacher to label."""
    label_sets: list[LabelSet]
    """Of auxiliary tasks, which no labelled source has; their heads come last."""
    per_epoch: Mapping[str, int]
    """Task (`unlabelled_name(task)` for texts without labels) → examples drawn an epoch; what
    is not named is drawn whole."""


def read_support(recipe: TrainRecipe) -> Support:
    """Read the support of a recipe, less every text that also stands in a source, dev or test.

    Leaving those out keeps what is measured clean, whichever fold is held out. Raises
    BadInput as `read_examples` does.
    """
    if not recipe.support:
        return Support([], [], [], {})
    known = read_label_sets(recipe.label_sets)
    judged = {
        normalize_text(example.item.text)
        for example in read_examples([*recipe.sources, *recipe.dev, *recipe.test], known, folds=0)
    }
    examples = [
        example
        for example in read_examples(recipe.support, known, folds=0)
        if normalize_text(example.item.text) not in judged
    ]
    unlabelled = [example for example in examples if example.label == UNLABELLED]
    own = {source.task for source in recipe.sources}
    tasks = [task for task in dict.fromkeys(s.task for s in recipe.support) if task not in own]
    labelled = [example for example in examples if example.label != UNLABELLED]
    label_sets = [known[task] for task in tasks]
    return Support(labelled, unlabelled, label_sets, count_per_epoch(recipe.support))


def count_per_epoch(support: Sequence[SupportRecipe]) -> dict[str, int]:
    """What `Support.per_epoch` holds for these files."""
    return {
        each.task if each.labelled else unlabelled_name(each.task): each.per_epoch
        for each in support
        if each.per_epoch is not None
    }
