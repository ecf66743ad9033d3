"""Examples that are trained on beside the labelled sources, but never held out or measured."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from transformers import PreTrainedModel

from contract.labels import LabelSet
from training.data import Example, read_examples, read_label_sets
from training.heads import find_head
from training.recipe import TrainRecipe
from training.recurrence import normalize_text
from training.sampling import split_validation


class Support(NamedTuple):
    """What `recipe.support` adds to a fit."""

    examples: list[Example]
    label_sets: list[LabelSet]
    """Of auxiliary tasks, which no labelled source has; their heads come last."""
    per_epoch: Mapping[str, int]
    """Task → examples drawn an epoch; a task that is not named is drawn whole."""


def read_support(recipe: TrainRecipe) -> Support:
    """Read the support of a recipe, less every text that also stands in a labelled source.

    Leaving those out keeps cross-validation clean, whichever fold is held out. Raises
    BadInput as `read_examples` does.
    """
    if not recipe.support:
        return Support([], [], {})
    known = read_label_sets(recipe.label_sets)
    judged = {
        normalize_text(example.item.text)
        for example in read_examples(recipe.sources, known, folds=1)
    }
    examples = [
        example
        for example in read_examples(recipe.support, known, folds=0)
        if normalize_text(example.item.text) not in judged
    ]
    own = {source.task for source in recipe.sources}
    tasks = [task for task in dict.fromkeys(s.task for s in recipe.support) if task not in own]
    per_epoch = {s.task: s.per_epoch for s in recipe.support if s.per_epoch is not None}
    return Support(examples, [known[task] for task in tasks], per_epoch)


def list_trained(
    recipe: TrainRecipe, examples: Sequence[Example], support: Support
) -> list[Example]:
    """What a fit on these examples draws its batches from: not what it holds back to validate."""
    options = recipe.optimisation
    training, _ = split_validation(examples, options.validation_share, options.seed)
    return [*training, *support.examples]


def drop_auxiliary(model: PreTrainedModel, label_sets: Sequence[LabelSet]) -> PreTrainedModel:
    """Cut `score` down to the rows of the given label sets, which come first."""
    names = [f"{labels.task}/{label_id}" for labels in label_sets for label_id in labels.ids]
    head = find_head(model).detach()
    if len(names) == len(head):
        return model
    score = torch.nn.Linear(head.shape[1], len(names), bias=False)
    with torch.no_grad():
        score.weight.copy_(head[: len(names)])
    model.score = score
    model.config.num_labels = cast(Any, model).num_labels = len(names)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    return model
