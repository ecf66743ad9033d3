"""What a setting of training changes: averages over seeds, paired over items, with intervals.

Hits are booleans (settings, seeds, items): whether the model of a setting and a seed, which
had not seen the item, answered it right. Settings and seeds share folds and items.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.statistics.probabilities import Floats

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """1 or -1 if the interval lies on one side of 0, else 0: the sign cannot be told."""
        return int(self.low > 0.0) - int(self.high < 0.0)


class Recalls(NamedTuple):
    """Macro recall over some classes, and accuracy, of every setting (settings,) and in every
    resample (settings, resamples)."""

    values: Floats
    samples: Floats

    def estimate(self, setting: int) -> Estimate:
        """The figure of one setting."""
        return _summarize(float(self.values[setting]), self.samples[setting])

    def compare(self, setting: int, reference: int) -> Estimate:
        """Setting less reference, both on the same resamples of items and seeds."""
        value = float(self.values[setting] - self.values[reference])
        return _summarize(value, self.samples[setting] - self.samples[reference])


def resample_recalls(
    hits: NDArray[np.bool_],
    labels: NDArray[np.integer],
    classes: Sequence[Sequence[int]],
    *,
    groups: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> list[Recalls]:
    """Macro recall over each of the lists of `classes`, and last the accuracy.

    The bootstrap draws items within their class, or with `groups` (items,) whole groups of them,
    and seeds of training, both with replacement and the same for every setting. A class of which
    no group is drawn counts as it is. With few seeds it understates how much
    other seeds would change: of three it sees two thirds of the variance between them.
    Raises ValueError if labels (items,) do not match the hits or a listed class has none.
    """
    if hits.ndim != 3 or labels.shape != hits.shape[2:]:
        raise ValueError(f"hits {hits.shape} and labels {labels.shape} do not belong together")
    counts = np.bincount(labels)
    rng = np.random.default_rng(seed)
    seeds = hits.shape[1]
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    item_draws = None if groups is None else _draw_groups(groups, rng)
    width = max(len(counts), 1 + max(index for each in classes for index in each))
    values = np.full((hits.shape[0], width), np.nan)
    samples = np.full((hits.shape[0], RESAMPLES, width), np.nan)
    for index in np.flatnonzero(counts):
        own = hits[:, :, labels == index].astype(np.float64)  # (settings, seeds, items of class)
        size = int(counts[index])
        if item_draws is None:
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES) / size
        else:
            drawn = _share_out(item_draws[:, labels == index])
        values[:, index] = own.mean(axis=(1, 2))
        samples[:, :, index] = np.einsum("psr,rs->pr", own @ drawn.T, chosen)
    present = np.flatnonzero(counts)
    if missing := {index for each in classes for index in each} - set(present.tolist()):
        raise ValueError(f"no items of the classes {sorted(missing)}")
    shares = counts[present] / counts.sum()
    parts = [
        Recalls(values[:, list(each)].mean(axis=1), samples[:, :, list(each)].mean(axis=2))
        for each in classes
    ]
    return [*parts, Recalls(values[:, present] @ shares, samples[:, :, present] @ shares)]


def _draw_groups(groups: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int32]:
    """How often each item is drawn with its group: (resamples, items)."""
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.int32)
    return drawn[:, numbers]


def _share_out(drawn: NDArray[np.int32]) -> Floats:
    """Weights of the items of a class that sum to 1 in each resample (resamples, items)."""
    totals = drawn.sum(axis=1, keepdims=True)
    shares: Floats = np.where(totals > 0, drawn / np.maximum(totals, 1), 1 / drawn.shape[1])
    return shares


def _summarize(value: float, samples: Floats) -> Estimate:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
