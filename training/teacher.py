"""Soft targets from a teacher that never saw the label it judges (cross-fitted distillation).

A small decoder learns the labels of its training examples by heart, wrong ones included. The
teacher, character n-grams under logistic regression, errs elsewhere and is fitted in seconds,
so it can judge every example from the others alone: its answer says how much to believe a
label, and labels texts that nobody labelled (Hinton et al. 2015; cross-fitting as in Dao et
al., ICLR 2021).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.model_selection import StratifiedKFold

from contract.labels import LabelSet
from training.data import UNLABELLED, Example
from training.errors import BadInput
from training.method import DistillationRecipe
from training.ngrams import NgramClassifier
from training.probabilities import Floats, take_softmax
from training.sampling import batch_prior

Targets = list[Floats]
"""For each example the probability of each class of its task."""

Answers = Mapping[str, Floats]
"""Task → a student's logits (unlabelled examples of the task, classes), in their order; they
answer for a uniform prior."""


def build_targets(
    recipe: DistillationRecipe | None,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    sampling: str,
    students: Sequence[Answers] = (),
) -> Targets:
    """What the examples of a fit are to be answered with, under the prior of its batches.

    A labelled example's target is its label, mixed with its task's share of the teacher's
    answer; an unlabelled one's is the teacher's answer alone, or, with students, the geometric
    mean of the teacher's and theirs, who together count as much as the teacher. The teacher is
    fitted to these examples and nothing else, so a held-out fold stays held out.
    """
    widths = {labels.task: len(labels.labels) for labels in label_sets}
    targets = [_one_hot(example.label, widths[example.task]) for example in examples]
    if recipe is None:
        return targets
    for label_set in label_sets:
        if label_set.task in recipe.weights:
            own = [place for place, each in enumerate(examples) if each.task == label_set.task]
            asked = [examples[place] for place in own]
            others = [each[label_set.task] for each in students if label_set.task in each]
            answers = _ask(recipe, asked, label_set, sampling, others)
            for place, answer in zip(own, answers, strict=True):
                known = examples[place].label != UNLABELLED
                weight = recipe.weights[label_set.task] if known else 1.0
                targets[place] = (1.0 - weight) * targets[place] + weight * answer
    return targets


def _ask(
    recipe: DistillationRecipe,
    examples: Sequence[Example],
    label_set: LabelSet,
    sampling: str,
    students: Sequence[Floats],
) -> Floats:
    """The teacher's probabilities (examples, classes), each from examples of other parts.

    `students` are logits (unlabelled examples, classes) to average into it.
    """
    items = np.array([each.item for each in examples], dtype=object)
    labels = np.array([each.label for each in examples])
    labelled = labels != UNLABELLED
    classes = len(label_set.labels)
    places = np.flatnonzero(labelled)
    if np.bincount(labels[places]).max() < recipe.parts:
        raise BadInput(
            f"distillation.parts {recipe.parts}: no class of {label_set.task} has as many examples "
            "to train on; lower it"
        )
    parts = StratifiedKFold(recipe.parts, shuffle=True, random_state=0).split(
        places, labels[places]
    )
    rounds = [(places[inside], places[outside]) for inside, outside in parts]
    if not labelled.all():
        rounds.append((places, np.flatnonzero(~labelled)))
    logits = np.empty((len(examples), classes))
    for known, asked in rounds:
        model = NgramClassifier(list(items[known]), labels[known], classes)
        logits[asked] = model.predict_logits(list(items[asked]))
    if students:
        logits[~labelled] = (logits[~labelled] + np.mean(students, axis=0)) / 2.0
    prior = batch_prior([e for e in examples if e.label != UNLABELLED], label_set, sampling)
    return take_softmax(logits, np.array(prior))


def _one_hot(label: int, width: int) -> Floats:
    target = np.zeros(width)
    if label != UNLABELLED:
        target[label] = 1.0
    return target
