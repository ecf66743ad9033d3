"""Temperature and biases on simulated data whose truth is known."""

import numpy as np
import pytest

from contract.predictions import calibrate_logits
from tests.contract.examples import make_task
from tests.training.simulated import CLASSES, PRIOR, simulate
from training.statistics.probabilities import negative_log_likelihood, take_softmax, weigh_items
from training.statistics.scaling import (
    COLDEST,
    HOTTEST,
    Scaling,
    fit_biases,
    fit_scaling,
    fit_temperature,
)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(temperature: float) -> None:
    logits, labels = simulate(1, 20_000, temperature=temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_temperature_is_the_best_of_its_neighbours() -> None:
    logits, labels = simulate(2, 500, temperature=2.2, width=2.0)
    fitted = fit_temperature(logits, labels)
    weights = weigh_items(labels, np.full(CLASSES, 1 / CLASSES))

    def loss(temperature: float) -> float:
        return negative_log_likelihood(take_softmax(logits / temperature), labels, weights)

    assert loss(fitted) < min(loss(fitted * 1.001), loss(fitted / 1.001))


def test_temperature_does_not_depend_on_the_class_mix() -> None:
    """Ten copies of every item of one class change nothing: classes weigh the same."""
    logits, labels = simulate(3, 800)
    repeats = np.where(labels == 0, 10, 1)
    copied = fit_temperature(np.repeat(logits, repeats, axis=0), np.repeat(labels, repeats))
    assert copied == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


def test_temperature_of_perfect_and_of_hopeless_answers_is_at_the_bounds() -> None:
    logits = 100.0 * np.eye(3)
    assert fit_temperature(logits, np.arange(3)) == pytest.approx(COLDEST)
    assert fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(HOTTEST)


def test_biases_are_recovered() -> None:
    """Logits that doubt two classes too much; only differences between biases count."""
    logits, labels = simulate(1, 50_000, temperature=2.0)
    doubted = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 1.0])
    scaling = fit_scaling(logits - 2.0 * doubted, labels)
    assert scaling.temperature == pytest.approx(2.0, rel=0.05)
    assert scaling.biases - scaling.biases[0] == pytest.approx(doubted, abs=0.2)


def test_biases_are_the_most_probable_of_their_neighbours() -> None:
    logits, labels = simulate(2, 400, temperature=1.5, width=2.0)
    fitted = fit_biases(logits, labels)
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)

    def loss(biases: np.ndarray) -> float:
        """At the best of many temperatures, as they were fitted together."""
        losses = [
            negative_log_likelihood(
                take_softmax(logits / temperature + biases, shares), labels, np.full(400, 1 / 400)
            )
            for temperature in np.geomspace(0.5, 5.0, 400)
        ]
        return min(losses) + 0.5 * float(biases @ biases) / len(labels)

    for step in 0.05 * np.concatenate([np.eye(CLASSES), -np.eye(CLASSES)]):
        assert loss(fitted) < loss(fitted + step)


def test_few_items_move_a_bias_little_and_none_not_at_all() -> None:
    rng = np.random.default_rng(0)
    found = []
    for rare in (2, 300):
        labels = np.repeat([0, 1, 2], [500, 500, rare])
        logits = 2.0 * np.eye(4)[labels] + rng.normal(size=(len(labels), 4))
        logits[:, 2] -= 3.0  # doubted everywhere; at the fitted temperature of 1/2 that is 6
        biases = fit_biases(logits, labels)
        assert biases[3] == 0.0
        assert biases[2] < rare
        found.append(biases[2] - biases[:2].mean())
    assert 1.0 < found[0] < 3.5
    assert found[1] == pytest.approx(6.0, abs=0.6)


def test_two_views_of_an_item_say_no_more_than_one() -> None:
    logits, labels = simulate(10, 300)
    once = fit_scaling(logits, labels)
    twice = fit_scaling(np.tile(logits, (2, 1)), np.tile(labels, 2), views=2)
    assert twice.temperature == pytest.approx(once.temperature, rel=1e-6)
    assert twice.biases == pytest.approx(once.biases, abs=1e-5)
    surer = fit_scaling(np.tile(logits, (2, 1)), np.tile(labels, 2))
    assert np.abs(surer.biases - once.biases).max() > 1e-3


def test_a_scaling_reads_logits_as_the_server_does() -> None:
    task = make_task(temperature=1.7, biases=[0.5, -0.25, 0.0, 1.0, 0.0, 0.125, -1.0])
    logits = np.random.default_rng(1).normal(size=(5, 7))
    many = take_softmax(Scaling.of(task).apply(logits))
    for row, probabilities in zip(logits, many, strict=True):
        assert calibrate_logits(task, row.tolist()) == pytest.approx(probabilities)
    plain = make_task(temperature=1.7)
    assert Scaling.of(plain).apply(logits) == pytest.approx(logits / 1.7)


def test_the_mix_of_the_items_is_no_part_of_the_biases() -> None:
    """A long tail and equal classes of the same truth lead to the same biases."""
    logits, labels = simulate(3, 60_000)
    rng = np.random.default_rng(4)
    least = np.bincount(labels).min()
    even = np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == index), least, replace=False)
            for index in range(CLASSES)
        ]
    )
    tail, balanced = fit_biases(logits, labels), fit_biases(logits[even], labels[even])
    assert PRIOR.max() / PRIOR.min() == 40.0
    assert tail - tail.mean() == pytest.approx(balanced - balanced.mean(), abs=0.25)
