"""The simulation of choosing what to label: what it holds out, what it compares."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from benchmarks.label_choice import WAYS, Pool, simulate, tabulate


def make_pool(items: int = 300) -> Pool:
    """Items of three classes, one of them rare, that their features tell apart."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=items, p=[0.6, 0.35, 0.05])
    features = rng.random((items, 12)) * 0.3
    features[np.arange(items), labels] += 1.0
    vectors = rng.normal(size=(items, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Pool(csr_matrix(features), vectors, labels, np.arange(items) % 5, 3)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_names_other_items_than_those_that_are_known(way: str) -> None:
    pool, seen = make_pool(), []

    def choose(
        probabilities: np.ndarray, vectors: np.ndarray, wanted: int, seed: int
    ) -> Sequence[int]:
        chosen = WAYS[way](probabilities, vectors, wanted, seed)
        seen.append((len(probabilities), list(chosen), wanted))
        return chosen

    curve = simulate(pool, choose, seed=1, sizes=[20, 40, 80])
    assert len(curve) == 3 and all(0.0 <= each <= 1.0 for each in curve)
    assert [(left, wanted) for left, _, wanted in seen] == [(220, 20), (200, 40)]
    assert all(len(set(chosen)) == len(chosen) == wanted for _, chosen, wanted in seen)


def test_a_curve_is_that_of_its_seed() -> None:
    pool = make_pool()
    ranked = WAYS["ranked"]
    assert simulate(pool, ranked, 1, [20, 40]) == simulate(pool, ranked, 1, [20, 40])
    assert simulate(pool, ranked, 1, [20, 40]) != simulate(pool, ranked, 2, [20, 40])


def test_gains_are_paired_over_seeds() -> None:
    curves = {
        "at random": [[0.2, 0.4, 0.5], [0.1, 0.3, 0.4], [0.3, 0.5, 0.6]],
        "ranked": [[0.2, 0.5, 0.6], [0.1, 0.4, 0.5], [0.3, 0.6, 0.7]],
    }
    last = tabulate(curves, [20, 40, 80]).strip().splitlines()[-1]
    assert last == "| ranked | 0.200 | 0.500 | 0.600 | +0.100 [+0.100, +0.100] |"
