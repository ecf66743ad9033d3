"""What a prior is worth: held-out answers drawn into batches of known class mixes.

The answers are those of the recipe's models where all its folds are kept (`ncal crossvalidate`),
else those of the n-gram baseline (`ncal baseline`): calibrated, each by a model and a scaling
that had not seen the item's group. Turns are answered with the turn after. A batch of n items has
its classes drawn from a mix, and its items from those of their class.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from contract.estimation import estimate_mix
from contract.labels import LabelSet
from training.checkpoints.work_folder import check_work
from training.data.examples import Example, measure_prior, read_examples, read_label_sets
from training.errors import BadInput
from training.evaluation.baseline import read_baseline
from training.evaluation.crossvalidate import fold_file, read_held_out
from training.evaluation.folds import deal_examples, find_groups
from training.recipe.recipe import TrainRecipe
from training.reporting.markdown_tables import write_table
from training.statistics.conformal import cross_fit_views, fit_thresholds
from training.statistics.confusion import count_confusion, summarize_confusions
from training.statistics.probabilities import Floats, Ints, take_softmax

SIZES = (10, 30, 100, 1000)
PRIORS = ("uniform", "training", "estimated", "known")
_ITEMS = 20_000
"""Of all batches of one size together."""
_SEED = 0
Scores = dict[str, tuple[Floats, Ints, Ints]]
"""Task → calibrated logits (items, K), labels (items,) and the fold of each item (items,)."""


class HeldOutAnswers(NamedTuple):
    """What a model that had not seen them says of items."""

    probabilities: Floats
    """(items, K), calibrated, uniform prior."""
    sets: Floats
    """(items, K): 1.0 where the class is in the prediction set."""
    labels: Ints
    training: Floats
    """(K,): mix of the training data."""


def measure_mixes(recipe: TrainRecipe) -> str:
    """Simulate for every task; returns Markdown. BadInput where no held-out answers are kept."""
    parts = []
    whose, by_task = _read_answers(recipe)
    for task, answers in by_task.items():
        rows = []
        for name, mix in list_mixes(answers.training).items():
            for size in SIZES:
                figures = simulate(answers, mix, size)
                rows.append([name, str(size), *_describe(figures)])
        header = ["mix", "items", "error of the estimate", "shares within their interval"]
        for what in (
            "accuracy",
            "macro recall",
            "macro precision",
            "reviewed",
            "wrong, unreviewed",
        ):
            header.append(f"{what}: {', '.join(PRIORS)}")
        parts += [f"## {task}, answers of {whose}\n", write_table(header, rows)]
    return "\n".join(parts)


def list_mixes(training: Floats) -> dict[str, Floats]:
    """From uniform over half-way to the training mix and beyond, and one that is quite another."""
    powers = {"uniform": 0.0, "half-way": 0.5, "training": 1.0, "beyond": 1.5}
    mixes = {name: training**power / (training**power).sum() for name, power in powers.items()}
    return mixes | {"reversed": np.sort(training)[np.argsort(np.argsort(-training))]}


def simulate(answers: HeldOutAnswers, mix: Floats, size: int) -> dict[str, Any]:
    """Mean total variation of the estimate, how many of its 95% intervals hold the share of the
    mix, and by prior what comes of the answers.

    Accuracy and review are means over items; macro recall and precision are of the pooled
    confusion matrix.
    """
    rng = np.random.default_rng(_SEED)
    classes = len(mix)
    members = [np.flatnonzero(answers.labels == label) for label in range(classes)]
    errors: list[float] = []
    held: list[float] = []
    confusions = {prior: np.zeros((classes, classes), dtype=np.int64) for prior in PRIORS}
    reviewed = dict.fromkeys(PRIORS, 0)
    wrong = dict.fromkeys(PRIORS, 0)
    batches = max(20, _ITEMS // size)
    for _ in range(batches):
        labels = rng.choice(classes, size=size, p=mix)
        items = np.array([rng.choice(members[label]) for label in labels])
        probabilities = answers.probabilities[items]
        found = estimate_mix(answers.training.tolist(), probabilities.tolist())
        estimate, intervals = np.array(found.shares), np.array(found.intervals)
        held.append(float(((intervals[:, 0] <= mix) & (mix <= intervals[:, 1])).mean()))
        errors.append(float(np.abs(estimate - mix).sum() / 2))
        shares = (np.ones(classes), answers.training, estimate, mix)
        for prior, weights in zip(PRIORS, shares, strict=True):
            chosen = (probabilities * weights).argmax(axis=1)
            sets = answers.sets[items]
            sure = (sets.sum(axis=1) == 1) & (sets[np.arange(size), chosen] == 1)
            confusions[prior] += count_confusion(labels, chosen, classes)
            reviewed[prior] += int((~sure).sum())
            wrong[prior] += int((sure & (chosen != labels)).sum())
    total = batches * size
    return {
        "total_variation": float(np.mean(errors)),
        "held": float(np.mean(held)),
        **{prior: summarize_confusions(each) for prior, each in confusions.items()},
        "reviewed": {prior: count / total for prior, count in reviewed.items()},
        "wrong": {prior: wrong[prior] / max(1, total - reviewed[prior]) for prior in PRIORS},
    }


def _describe(figures: Mapping[str, Any]) -> list[str]:
    cells = [f"{figures['total_variation']:.3f}", f"{figures['held']:.3f}"]
    for key in ("accuracy", "macro_recall", "macro_precision"):
        cells.append(", ".join(f"{figures[prior][key]:.3f}" for prior in PRIORS))
    for key in ("reviewed", "wrong"):
        cells.append(", ".join(f"{figures[key][prior]:.3f}" for prior in PRIORS))
    return cells


def _read_answers(recipe: TrainRecipe) -> tuple[str, dict[str, HeldOutAnswers]]:
    """Whose answers they are, and those by task."""
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    own = [label_sets[task] for task in dict.fromkeys(source.task for source in recipe.sources)]
    kept = all(fold_file(recipe, fold).exists() for fold in range(recipe.evaluation.folds))
    scores = (_read_folds if kept else _read_baseline)(recipe, examples, own)
    found = {}
    for label_set in own:
        logits, labels, folds = scores[label_set.task]
        found[label_set.task] = HeldOutAnswers(
            take_softmax(logits),
            _build_sets(logits, labels, folds, recipe.evaluation.coverage),
            labels,
            np.array(measure_prior(examples, label_set)),
        )
    return recipe.name if kept else "n-grams", found


def _read_folds(
    recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> Scores:
    """What the models of the kept folds answer; BadInput if they are another run's."""
    check_work(recipe)
    grouped = find_groups(recipe, examples) is not None
    held_out = read_held_out(recipe, examples, label_sets)
    scores = {}
    for label_set in label_sets:
        modes = held_out[label_set.task]
        first = modes["retrospective"]
        crossed = cross_fit_views(
            {mode: each.logits for mode, each in modes.items()},
            first.labels,
            np.array(measure_prior(examples, label_set)),
            folds=recipe.evaluation.folds,
            places=first.folds if grouped else None,
        )
        scores[label_set.task] = (crossed["retrospective"].logits, first.labels, first.folds)
    return scores


def _read_baseline(
    recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> Scores:
    """What the n-grams answer; BadInput if they were not measured on these folds."""
    numbers = deal_examples(recipe, examples)
    scores = {}
    for label_set in label_sets:
        places = np.array([i for i, each in enumerate(examples) if each.task == label_set.task])
        labels, folds = np.array([examples[i].label for i in places]), numbers[places]
        logits = read_baseline(recipe, label_set.task, labels, folds)
        if logits is None:
            raise BadInput(
                f"{recipe.work}: keeps neither all folds of this recipe nor answers of the n-grams "
                "for them; run `ncal crossvalidate` or `ncal baseline` with the same recipe first"
            )
        scores[label_set.task] = (logits, labels, folds)
    return scores


def _build_sets(logits: Floats, labels: Ints, folds: Ints, coverage: float) -> Floats:
    """Prediction sets by the thresholds that the other folds set."""
    sets = np.zeros_like(logits)
    probabilities = take_softmax(logits)
    for fold in np.unique(folds):
        inside = folds == fold
        thresholds = fit_thresholds(logits[~inside], labels[~inside], coverage)
        sets[inside] = probabilities[inside] >= thresholds
    return sets
