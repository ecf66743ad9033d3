"""Probabilities and their scores: the contract's arithmetic, and sums worked out by hand."""

import numpy as np
import pytest

from contract.labels import IRF
from contract.manifest import Task
from contract.predictions import Prior
from contract.predictions import calibrate_logits as calibrate_one
from training.statistics.probabilities import (
    bin_confidences,
    brier_score,
    expected_calibration_error,
    take_softmax,
    weigh_items,
)


@pytest.mark.parametrize("prior", ["uniform", "training"])
def test_probabilities_are_those_of_the_contract(prior: Prior) -> None:
    shares = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])
    task = Task(
        label_set=IRF,
        rows=tuple(range(8)),
        temperature=1.7,
        training_prior=tuple(shares),
        conformal_thresholds=(0.0,) * 8,
        conformal_coverage=0.9,
        prompt_version="compact-1",
        max_tokens=64,
    )
    logits = np.random.default_rng(0).normal(scale=30, size=(50, 8))
    many = take_softmax(logits / 1.7, None if prior == "uniform" else shares)
    for row, found in zip(logits, many, strict=True):
        assert found == pytest.approx(calibrate_one(task, row.tolist(), prior), rel=1e-12)


def test_bins_hold_each_item_once_and_their_gap_is_the_calibration_error() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.42, 0.58], [0.2, 0.8]])
    labels = np.array([0, 1, 1, 0])
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    bins = bin_confidences(probabilities, labels, weights)
    assert [each.weight for each in bins] == pytest.approx([0.3, 0.2, 0.1, 0.4])
    assert [each.accuracy for each in bins] == [0.0, 1.0, 0.0, 1.0]
    error = expected_calibration_error(probabilities, labels, weights)
    assert error == pytest.approx(0.3 * 0.5 + 0.2 * 0.42 + 0.1 * 0.8)
    assert brier_score(probabilities, labels, weights) == pytest.approx(
        0.3 * 0.5 + 0.2 * 2 * 0.42**2 + 0.1 * 2 * 0.8**2
    )


def test_weights_turn_the_mix_of_the_items_into_the_prior() -> None:
    labels = np.array([0, 0, 0, 1])
    assert weigh_items(labels, np.array([0.5, 0.5])) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    # Class 2 does not occur: the rest of the prior is scaled up.
    assert weigh_items(labels, np.array([0.6, 0.3, 0.1])) == pytest.approx(
        [2 / 9, 2 / 9, 2 / 9, 1 / 3]
    )
