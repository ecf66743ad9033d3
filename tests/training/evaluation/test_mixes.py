"""The simulation of priors: what is known of its figures at the ends."""

import numpy as np
import pytest

from training.evaluation.mixes import HeldOutAnswers, list_mixes, simulate
from training.statistics.probabilities import take_softmax

TRAINING = np.array([0.7, 0.2, 0.1])


def _make_answers(sharpness: float) -> HeldOutAnswers:
    """Calibrated answers: an item shows a point on a line, classes are normal densities on it."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=3000, p=TRAINING)
    points = labels * sharpness + rng.normal(size=3000)
    logits = -0.5 * np.square(points[:, None] - np.arange(3) * sharpness)
    probabilities = take_softmax(logits)
    return HeldOutAnswers(probabilities, (probabilities > 0.2) * 1.0, labels, TRAINING)


def test_mixes_run_from_uniform_to_beyond_the_training_mix() -> None:
    mixes = list_mixes(TRAINING)
    assert mixes["uniform"] == pytest.approx(np.full(3, 1 / 3))
    assert mixes["training"] == pytest.approx(TRAINING)
    assert mixes["beyond"][0] > TRAINING[0] > mixes["half-way"][0]
    assert mixes["reversed"] == pytest.approx([0.1, 0.2, 0.7])
    assert all(mix.sum() == pytest.approx(1.0) for mix in mixes.values())


def test_the_known_mix_is_best_and_many_items_come_close_to_it() -> None:
    answers = _make_answers(1.5)
    mix = list_mixes(TRAINING)["reversed"]
    few, many = simulate(answers, mix, 10), simulate(answers, mix, 1000)
    assert many["total_variation"] < 0.06 < few["total_variation"]
    accuracy = {prior: many[prior]["accuracy"] for prior in ("uniform", "training", "known")}
    assert accuracy["known"] > accuracy["uniform"] > accuracy["training"]
    assert many["estimated"]["accuracy"] > accuracy["known"] - 0.02
    assert few["estimated"]["accuracy"] < many["estimated"]["accuracy"]
    assert simulate(answers, TRAINING, 1000)["held"] > 0.85


def test_what_is_not_reviewed_is_wrong_less_often() -> None:
    figures = simulate(_make_answers(2.0), TRAINING, 100)
    for prior in ("uniform", "training", "estimated", "known"):
        assert 0.0 < figures["reviewed"][prior] < 1.0
        assert figures["wrong"][prior] < 1.0 - figures[prior]["accuracy"]
