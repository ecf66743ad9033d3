"""Confident learning: by hand, and on labels that were made wrong on purpose."""

import numpy as np
import pytest

from training.statistics.label_errors import (
    NOBODY,
    count_joint,
    estimate_shares,
    find_confident,
    rank_doubts,
    share_wrong,
)


def test_confident_classes_are_those_of_equation_2() -> None:
    probabilities = np.array(
        [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.45, 0.55]]
    )
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds: (0.9 + 0.7 + 0.2) / 3 = 0.6 and (0.9 + 0.6 + 0.55) / 3 = 0.683.
    confident = find_confident(probabilities, labels)
    assert confident.tolist() == [0, 0, 1, 1, NOBODY, NOBODY]
    joint = count_joint(confident, labels, 2)
    assert joint.tolist() == [[2, 1], [0, 1]]
    assert share_wrong(joint) == pytest.approx([1 / 3, 0.0])


def test_a_class_that_is_never_given_is_never_suspected() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7]])
    assert find_confident(probabilities, np.array([0, 1])).tolist() in ([0, 1], [NOBODY, 1])


def test_doubts_weigh_the_two_labels_alone() -> None:
    probabilities = np.array([[0.1, 0.3, 0.6], [0.5, 0.5, 0.0]])
    sure = rank_doubts(probabilities, np.array([0, 0]), np.array([1, 1]))
    assert sure == pytest.approx([0.75, 0.5])


def _simulate(
    wrong: tuple[float, ...], seed: int, items: int = 6000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which a share by class was made wrong, and what an able model says of them."""
    rng = np.random.default_rng(seed)
    classes = len(wrong)
    true = rng.choice(classes, size=items, p=np.array([0.6, 0.3, 0.1]))
    given = true.copy()
    flip = rng.random(items) < np.array(wrong)[true]
    given[flip] = (true[flip] + 1 + rng.integers(0, classes - 1, size=flip.sum())) % classes
    logits = rng.normal(0.0, 0.7, size=(items, classes))
    logits[np.arange(items), true] += 4.0
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), given, true


def test_planted_errors_are_found_and_their_share_estimated() -> None:
    probabilities, given, true = _simulate((0.05, 0.1, 0.2), seed=1)
    confident = find_confident(probabilities, given)
    doubted = (confident != NOBODY) & (confident != given)
    wrong = given != true
    assert (doubted & wrong).sum() / wrong.sum() > 0.8
    assert (doubted & wrong).sum() / doubted.sum() > 0.9
    assert (confident[doubted & wrong] == true[doubted & wrong]).mean() > 0.98
    shares = estimate_shares(probabilities, given, np.arange(len(given)))
    truth = [wrong[given == label].mean() for label in range(3)]
    assert shares.by_class == pytest.approx(truth, abs=0.02)
    assert shares.total == pytest.approx(wrong.mean(), abs=0.01)
    assert shares.interval[0] < shares.total < shares.interval[1]
    assert (shares.intervals[:, 0] <= shares.by_class).all()
    assert (shares.by_class <= shares.intervals[:, 1]).all()


def test_right_labels_are_hardly_doubted() -> None:
    probabilities, given, _ = _simulate((0.0, 0.0, 0.0), seed=2)
    assert estimate_shares(probabilities, given, np.arange(len(given))).total < 0.01


def test_of_a_class_that_the_model_does_not_know_nothing_is_told() -> None:
    probabilities, given, _ = _simulate((0.05, 0.05, 0.05), seed=4)
    blind = probabilities.copy()
    blind[:, 2] *= 0.01
    blind /= blind.sum(axis=1, keepdims=True)
    shares = estimate_shares(blind, given, np.arange(len(given)))
    assert shares.told.tolist() == [True, True, False]
    counts = np.bincount(given)[:2]
    assert shares.total == pytest.approx(shares.by_class[:2] @ counts / counts.sum())
    assert shares.interval[0] <= shares.total <= shares.interval[1]


def test_intervals_are_over_groups() -> None:
    probabilities, given, _ = _simulate((0.1, 0.1, 0.1), seed=3, items=400)
    alone = estimate_shares(probabilities, given, np.arange(400))
    copies = np.repeat(np.arange(400), 9)
    together = estimate_shares(probabilities[copies], given[copies], copies)
    single = estimate_shares(probabilities[copies], given[copies], np.arange(len(copies)))
    width = together.interval[1] - together.interval[0]
    assert width == pytest.approx(alone.interval[1] - alone.interval[0], rel=0.3)
    assert width > 2 * (single.interval[1] - single.interval[0])
