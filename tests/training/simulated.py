"""A long-tailed classification whose true class densities are known."""

import numpy as np

from training.statistics.probabilities import Floats, Ints

CLASSES = 8
PRIOR = np.array([0.4, 0.25, 0.15, 0.08, 0.05, 0.04, 0.02, 0.01])


def simulate(
    seed: int, items: int, *, temperature: float = 1.0, width: float = 1.0
) -> tuple[Floats, Ints]:
    """Long-tailed items; times `temperature`, the logits are log densities of the classes."""
    world = np.random.default_rng(99)
    centres = 1.5 * world.normal(size=(CLASSES, 4))
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, size=items, p=PRIOR)
    points = centres[labels] + width * rng.normal(size=(items, 4))
    logits = -0.5 * np.square((points[:, None] - centres) / width).sum(axis=2)
    return logits * temperature, labels
