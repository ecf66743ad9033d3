"""The estimated mix: against what is known, by other means, and at the edges."""

import random

import pytest

from contract.estimation import FLOOR, STRENGTH, estimate_mix

TRAINING = (0.6, 0.3, 0.1)


def _draw(shares: tuple[float, ...], items: int, seed: int = 0) -> list[list[float]]:
    """Probabilities for the uniform prior of items whose two readings tell the class in part."""
    rng = random.Random(seed)
    likelihoods = [[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]
    rows = []
    for _ in range(items):
        label = rng.choices(range(3), shares)[0]
        weights = [1.0, 1.0, 1.0]
        for seen in rng.choices(range(3), likelihoods[label], k=2):
            weights = [w * likelihoods[k][seen] for k, w in enumerate(weights)]
        rows.append([w / sum(weights) for w in weights])
    return rows


def _maximise_slowly(items: list[list[float]]) -> list[float]:
    """The same by plain expectation maximisation."""
    shares = list(TRAINING)
    for _ in range(5000):
        sums = [STRENGTH * share for share in TRAINING]
        for item in items:
            total = sum(p * s for p, s in zip(item, shares, strict=True))
            for k in range(3):
                sums[k] += item[k] * shares[k] / total
        shares = [value / sum(sums) for value in sums]
    return shares


@pytest.mark.parametrize("mix", [(1 / 3, 1 / 3, 1 / 3), (0.6, 0.3, 0.1), (0.1, 0.2, 0.7)])
def test_the_mix_of_many_items_is_found_within_its_intervals(mix: tuple[float, ...]) -> None:
    found = estimate_mix(TRAINING, _draw(mix, 3000))
    assert found.kind == "estimated" and found.items == 3000
    assert found.shares == pytest.approx(mix, abs=0.05)
    assert sum(found.shares) == pytest.approx(1.0)
    assert found.intervals is not None
    for share, (low, high), true in zip(found.shares, found.intervals, mix, strict=True):
        assert low <= share <= high and high - low < 0.12
        assert low - 0.01 <= true <= high + 0.01


def test_intervals_hold_the_mix_in_about_95_of_100_draws() -> None:
    hits = 0
    for seed in range(60):
        found = estimate_mix(TRAINING, _draw((0.5, 0.3, 0.2), 200, seed))
        assert found.intervals is not None
        hits += found.intervals[0][0] <= 0.5 <= found.intervals[0][1]
    assert hits >= 52


@pytest.mark.parametrize("items", [1, 7, 40])
def test_it_is_the_fixed_point_of_expectation_maximisation(items: int) -> None:
    drawn = _draw((0.2, 0.2, 0.6), items)
    found = estimate_mix(TRAINING, drawn).shares
    assert found == pytest.approx(_maximise_slowly(drawn), abs=1e-4)


def test_few_items_say_little_and_none_says_nothing() -> None:
    nothing = estimate_mix(TRAINING, [])
    assert nothing.shares == pytest.approx(TRAINING) and nothing.items == 0
    # One item that is surely of the rare class: (10·0.1 + 1) / 11.
    one = estimate_mix(TRAINING, [[0.0, 0.0, 1.0]])
    assert one.shares == pytest.approx((6 / 11, 3 / 11, 2 / 11), abs=1e-5)


def test_a_class_that_never_occurs_keeps_a_floor() -> None:
    found = estimate_mix((0.989, 0.01, 0.001), [[1.0, 0.0, 0.0]] * 2000)
    assert found.shares[2] == pytest.approx(FLOOR, rel=0.01)
    assert found.intervals is not None and found.intervals[2][0] == 0.0


def test_the_same_items_have_the_same_mix() -> None:
    items = _draw((0.2, 0.2, 0.6), 50)
    assert estimate_mix(TRAINING, items) == estimate_mix(TRAINING, items)
