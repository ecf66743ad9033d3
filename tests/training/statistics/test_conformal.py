"""Prediction sets and cross-fitting on simulated data whose truth is known."""

import json
import math

import numpy as np
import pytest

from contract.labels import IRF
from contract.manifest import Task
from contract.predictions import calibrate_logits as calibrate_one
from contract.predictions import predict_set
from tests.training.simulated import CLASSES, PRIOR, simulate
from training.statistics.conformal import (
    cross_fit,
    cross_fit_views,
    deal_folds,
    fit_thresholds,
)
from training.statistics.probabilities import take_softmax
from training.statistics.scaling import fit_scaling


def test_threshold_is_the_corrected_quantile() -> None:
    """Two classes, so that the logits can be made from the probabilities."""
    own = np.array([0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    logits = np.stack([np.log(own), np.log1p(-own)], axis=1)
    thresholds = fit_thresholds(logits, np.zeros(9, dtype=np.int64), 0.9)
    assert thresholds[0] == pytest.approx(0.3, abs=1e-6)  # rank ⌈10 · 0.9⌉ = 9 of 9
    assert thresholds[0] <= 0.3
    assert thresholds[1] == 0.0  # no item at all
    assert fit_thresholds(logits[:8], np.zeros(8, dtype=np.int64), 0.9)[0] == 0.0
    assert fit_thresholds(logits, np.zeros(9, dtype=np.int64), 0.5)[0] == pytest.approx(
        0.7, abs=1e-6
    )


def test_coverage_holds_on_new_items_of_every_class() -> None:
    """Averaged over many calibration sets, as the guarantee is stated."""
    covered: list[list[float]] = [[] for _ in range(CLASSES)]
    logits, labels = simulate(4, 30_000, temperature=2.0)
    for seed in range(60):
        own_logits, own_labels = simulate(100 + seed, 1500, temperature=2.0)
        thresholds = fit_thresholds(own_logits / 1.3, own_labels)
        inside = take_softmax(logits / 1.3) >= np.array(thresholds)
        for index in range(CLASSES):
            members = labels == index
            covered[index].append(float(inside[members, index].mean()))
            if thresholds[index] == 0.0:
                assert covered[index][-1] == 1.0
    means = np.array([np.mean(each) for each in covered])
    assert (means > 0.885).all()  # new items are finite too
    assert means[0] == pytest.approx(0.9, abs=0.015)


def test_sets_are_those_the_server_builds() -> None:
    logits, labels = simulate(5, 400)
    scaling = fit_scaling(logits, labels)
    thresholds = fit_thresholds(scaling.apply(logits), labels)
    task = Task(
        label_set=IRF,
        rows=tuple(range(CLASSES)),
        temperature=scaling.temperature,
        biases=tuple(scaling.biases),
        training_prior=tuple(PRIOR),
        conformal_thresholds=tuple(thresholds),
        conformal_coverage=0.9,
        prompt_version="compact-1",
        max_tokens=64,
    )
    inside = take_softmax(scaling.apply(logits)) >= np.array(thresholds)
    covered = []
    for row, chosen, label in zip(logits, inside, labels, strict=True):
        served = predict_set(task, calibrate_one(task, row.tolist()))
        assert sorted(served) == np.flatnonzero(chosen).tolist()
        covered.append(int(label) in served)
    for index in range(CLASSES):  # on its own items at least the stated share, by construction
        members = np.flatnonzero(labels == index)
        assert np.mean([covered[place] for place in members]) >= 0.9


def test_cross_fitting_measures_what_new_data_show() -> None:
    logits, labels = simulate(6, 10_000, temperature=2.5)
    result = cross_fit(logits, labels, PRIOR)
    assert result["after"]["ece_uniform"] < 0.03 < result["before"]["ece_uniform"]
    assert result["after"]["ece_training"] < 0.02
    assert result["after"]["nll_uniform"] < result["before"]["nll_uniform"]
    assert result["after"]["macro_recall"] == pytest.approx(
        result["before"]["macro_recall"], abs=0.02
    )
    assert result["sets"]["coverage"] == pytest.approx(0.9, abs=0.02)
    assert result["temperatures"] == pytest.approx([2.5] * 5, rel=0.1)
    assert len(result["sets"]["coverage_per_class"]) == CLASSES
    assert 1.0 <= result["sets"]["set_size"] <= CLASSES
    assert json.loads(json.dumps(result)) == result
    assert cross_fit(logits, labels, PRIOR) == result
    assert cross_fit(logits, labels, PRIOR, seed=1) != result


def test_cross_fitting_does_not_see_the_measured_fold() -> None:
    """Whatever happens to the items of a fold, the scaling they are judged by stays."""
    logits, labels = simulate(7, 300)
    places = deal_folds(labels, 5, seed=0)
    changed = logits.copy()
    changed[places == 0] *= 0.1
    expected = fit_scaling(logits[places != 0], labels[places != 0])
    result = cross_fit_views({"": changed}, labels, PRIOR)[""]
    assert result.figures["temperatures"][0] == pytest.approx(expected.temperature)
    inside = places == 0
    assert result.logits[inside] == pytest.approx(expected.apply(changed[inside]), abs=1e-6)
    assert len(set(result.figures["temperatures"])) == 5  # the other four did see the change


def test_views_of_an_item_stay_together() -> None:
    """The same logits twice must set what they set once, and measure the same."""
    logits, labels = simulate(10, 600)
    once = cross_fit(logits, labels, PRIOR)
    views = cross_fit_views({"live": logits, "retrospective": logits}, labels, PRIOR)
    twice = {name: each.figures for name, each in views.items()}
    assert twice["live"] == twice["retrospective"]
    assert twice["live"]["temperatures"] == pytest.approx(once["temperatures"], rel=1e-6)
    assert twice["live"]["sets"] == once["sets"]
    rows, truth = np.tile(logits, (2, 1)), np.tile(labels, 2)
    thresholds = fit_thresholds(rows, truth, views=2)
    assert thresholds == fit_thresholds(logits, labels)
    assert thresholds != fit_thresholds(rows, truth)  # twice as sure as it may be


def test_each_view_is_measured_by_itself() -> None:
    logits, labels = simulate(11, 2000)
    blurred = logits + np.random.default_rng(0).normal(scale=4.0, size=logits.shape)
    views = cross_fit_views({"sharp": logits, "blurred": blurred}, labels, PRIOR)
    result = {name: each.figures for name, each in views.items()}
    assert result["sharp"]["temperatures"] == result["blurred"]["temperatures"]
    assert result["sharp"]["after"]["nll_uniform"] < result["blurred"]["after"]["nll_uniform"]
    assert result["sharp"]["sets"]["coverage"] > 0.9 > result["blurred"]["sets"]["coverage"]


def test_folds_spread_every_class() -> None:
    _, labels = simulate(8, 503)
    places = deal_folds(labels, 5, seed=3)
    for index in range(CLASSES):
        counts = np.bincount(places[labels == index], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(places)
    assert sizes.max() - sizes.min() <= 1


def test_absent_class_has_no_coverage() -> None:
    rng = np.random.default_rng(9)
    result = cross_fit(rng.normal(size=(40, 3)), np.arange(40) % 2, np.array([0.5, 0.4, 0.1]))
    assert result["sets"]["coverage_per_class"][2] is None
    assert math.isfinite(result["sets"]["coverage"])


def test_senseless_requests_are_refused() -> None:
    logits, labels = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"coverage 1\.5"):
        fit_thresholds(logits, labels, 1.5)
    with pytest.raises(ValueError, match="4 items cannot be dealt into 5 folds"):
        cross_fit(logits, labels, np.array([0.5, 0.5]))
