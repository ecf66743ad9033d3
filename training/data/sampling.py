"""Which examples are trained on, and how often: imbalance on purpose, and against it."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from contract.labels import LabelSet
from training.data.examples import Example, measure_prior
from training.recipe.recipe import TrainRecipe

_EXPONENTS = {"instance": 1.0, "square-root": 0.5, "class-balanced": 0.0}


def thin_out(recipe: TrainRecipe, examples: Sequence[Example]) -> list[Example]:
    """What is left of a training part after `sources[].imbalance_ratio`, in the same order.

    Only what is trained on is thinned out: call it on the training part of a fold, the fold
    itself stays whole.
    """
    kept = list(examples)
    for task, ratio in recipe.imbalance_ratios.items():
        own = [example for example in kept if example.task == task]
        left = subsample(own, ratio, recipe.evaluation.seed, at_least=recipe.evaluation.folds)
        chosen = {id(example) for example in left}  # examples may repeat one another
        kept = [example for example in kept if example.task != task or id(example) in chosen]
    return kept


def subsample(
    examples: Sequence[Example], ratio: float, seed: int, *, at_least: int = 1
) -> list[Example]:
    """Thin out the examples of one task until smallest class / largest class is `ratio`.

    Classes, largest first, are cut to the exponential profile M·ratio^(k/(K−1)) of
    long-tailed benchmarks (Cao et al., NeurIPS 2019); M is the largest size for which the
    last class has enough examples. A class that is smaller than its place in the profile
    stays as it is, and none is cut below `at_least`. The order is kept; the same seed
    keeps the same examples, and those of a smaller class size are among those of a larger.
    """
    counts = Counter(example.label for example in examples)
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    if len(ranked) < 2:
        return list(examples)
    peak = min(counts[ranked[0]], counts[ranked[-1]] / ratio)
    chosen: set[int] = set()
    for rank, label in enumerate(ranked):
        places = [place for place, example in enumerate(examples) if example.label == label]
        random.Random(f"{seed}/{label}").shuffle(places)
        size = round(peak * ratio ** (rank / (len(ranked) - 1)))
        chosen.update(places[: max(size, at_least)])
    return [example for place, example in enumerate(examples) if place in chosen]


def split_validation(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Return what is trained on and what is held out, `share` of each class of each task.

    A class of two examples or more has at least one on either side.
    """
    places: dict[tuple[str, int], list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault((example.task, example.label), []).append(place)
    chosen: set[int] = set()
    for stratum, own in places.items():
        random.Random(f"{seed}/{stratum}").shuffle(own)
        wanted = max(1, round(share * len(own))) if share else 0
        chosen.update(own[: min(wanted, len(own) - 1)])
    return (
        [example for place, example in enumerate(examples) if place not in chosen],
        [example for place, example in enumerate(examples) if place in chosen],
    )


def unlabelled_name(task: str) -> str:
    """The task, for sampling, of the examples of a task that have no label."""
    return f"{task}, unlabelled"


def draw_counts(
    sizes: Mapping[tuple[str, int], int],
    sampling: str,
    per_epoch: Mapping[str, int] = MappingProxyType({}),
) -> dict[tuple[str, int], int]:
    """How often an epoch draws from each (task, label) of the given size.

    The tasks keep their shares, and within a task a class of n examples is drawn in
    proportion to n, √n or 1 (Kang et al., ICLR 2020). The counts of a task add up to its
    sizes, or to what `per_epoch` says if that is less.
    """
    counts: dict[tuple[str, int], int] = {}
    for task in dict.fromkeys(task for task, _ in sizes):
        own = {key: size for key, size in sizes.items() if key[0] == task}
        total = min(sum(own.values()), per_epoch.get(task, sum(own.values())))
        weights = {key: size ** _EXPONENTS[sampling] for key, size in own.items()}
        exact = {key: total * weight / sum(weights.values()) for key, weight in weights.items()}
        counts |= {key: int(share) for key, share in exact.items()}
        missing = total - sum(counts[key] for key in own)
        for key in sorted(own, key=lambda key: counts[key] - exact[key])[:missing]:
            counts[key] += 1
    return counts


def batch_prior(examples: Sequence[Example], label_set: LabelSet, sampling: str) -> list[float]:
    """Share of each class of a task among what batches are drawn from under `sampling`.

    It is the prior that logit adjustment must use: that of the examples only if they are
    drawn as they come.
    """
    shares = np.array(measure_prior(examples, label_set))
    # A class without examples is never drawn, whatever the exponent (0⁰ would be 1).
    powered = np.where(shares > 0.0, shares ** _EXPONENTS[sampling], 0.0)
    return [float(share) for share in powered / powered.sum()]


def prior_shift(
    recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> NDArray[np.float32]:
    """What to subtract from all scores (rows,) so that each head answers for a uniform prior.

    `examples` are those that batches were drawn from, support included. All zeros under the
    losses that see to it themselves.
    """
    if not recipe.loss.prior_left:
        return np.zeros(sum(len(labels.labels) for labels in label_sets), dtype=np.float32)
    sampling = recipe.optimisation.sampling
    shares = [share for each in label_sets for share in batch_prior(examples, each, sampling)]
    return np.array(recipe.loss.prior_left * np.log(shares), dtype=np.float32)
