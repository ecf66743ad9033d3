"""Soft targets from a teacher that never saw the label it judges (cross-fitted distillation).

A small decoder learns the labels of its training examples by heart, wrong ones included. The
teacher, character n-grams under logistic regression, errs elsewhere and is fitted in seconds,
so it can judge every example from the others alone: its answer says how much to believe a
label, and labels texts that nobody labelled (Hinton et al. 2015; cross-fitting as in Dao et
al., ICLR 2021).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from contract.labels import LabelSet
from training.data.examples import UNLABELLED, Example
from training.data.sampling import batch_prior
from training.errors import BadInput
from training.models.ngrams import NgramClassifier
from training.recipe.method import DistillationRecipe
from training.statistics.probabilities import Floats, take_softmax

Targets = list[Floats]
"""For each example the probability of each class of its task."""

Answers = Mapping[str, Floats]
"""Task → logits (items of the task, classes) under a uniform prior, in the order of the items."""


class Teacher(NamedTuple):
    """What those who never saw its label say of an example."""

    ngrams: Answers
    """Of every example, for the tasks that have a teacher."""
    models: Sequence[Answers] = ()
    """What models answer, each of the unlabelled examples alone."""


def build_targets(
    recipe: DistillationRecipe | None,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    sampling: str,
    teacher: Teacher,
) -> Targets:
    """What the examples of a fit are to be answered with, under the prior of its batches.

    A labelled example's target is its label, mixed with its task's share of the n-grams'
    answer; an unlabelled one's is their answer alone, or the geometric mean of theirs and the
    models', who together count as much as the n-grams.
    """
    widths = {labels.task: len(labels.labels) for labels in label_sets}
    targets = [_one_hot(example.label, widths[example.task]) for example in examples]
    if recipe is None:
        return targets
    for label_set in label_sets:
        task = label_set.task
        if task in recipe.weights:
            own = [place for place, each in enumerate(examples) if each.task == task]
            asked = [examples[place] for place in own]
            models = [answers[task] for answers in teacher.models if task in answers]
            answers = _average(asked, label_set, sampling, teacher.ngrams[task], models)
            for place, answer in zip(own, answers, strict=True):
                known = examples[place].label != UNLABELLED
                weight = recipe.weights[task] if known else 1.0
                targets[place] = (1.0 - weight) * targets[place] + weight * answer
    return targets


def ask_ngrams(
    recipe: DistillationRecipe | None,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
) -> Answers:
    """What n-grams say of the examples of a fit, each judged from examples of other parts.

    They are fitted to these examples and nothing else, so a held-out fold stays held out.
    Raises BadInput if there are more parts than examples of any class.
    """
    if recipe is None:
        return {}
    return {
        each.task: _ask(recipe.parts, [e for e in examples if e.task == each.task], each)
        for each in label_sets
        if each.task in recipe.weights
    }


def _ask(count: int, examples: Sequence[Example], label_set: LabelSet) -> Floats:
    items = np.array([each.item for each in examples], dtype=object)
    labels = np.array([each.label for each in examples])
    labelled = labels != UNLABELLED
    classes = len(label_set.labels)
    places = np.flatnonzero(labelled)
    if np.bincount(labels[places]).max() < count:
        raise BadInput(
            f"distillation.parts {count}: no class of {label_set.task} has as many examples "
            "to train on; lower it"
        )
    parts = StratifiedKFold(count, shuffle=True, random_state=0).split(places, labels[places])
    rounds = [(places[inside], places[outside]) for inside, outside in parts]
    if not labelled.all():
        rounds.append((places, np.flatnonzero(~labelled)))
    logits = np.empty((len(examples), classes))
    for known, asked in rounds:
        model = NgramClassifier(list(items[known]), labels[known], classes)
        logits[asked] = model.predict_logits(list(items[asked]))
    return logits


def _average(
    examples: Sequence[Example],
    label_set: LabelSet,
    sampling: str,
    ngrams: Floats,
    models: Sequence[Floats],
) -> Floats:
    """The teacher's probabilities (examples, classes) under the prior of the batches."""
    logits = ngrams.copy()
    if models:
        unlabelled = np.array([each.label == UNLABELLED for each in examples])
        logits[unlabelled] = (logits[unlabelled] + np.mean(models, axis=0)) / 2.0
    prior = batch_prior([e for e in examples if e.label != UNLABELLED], label_set, sampling)
    return take_softmax(logits, np.array(prior))


def _one_hot(label: int, width: int) -> Floats:
    target = np.zeros(width)
    if label != UNLABELLED:
        target[label] = 1.0
    return target
