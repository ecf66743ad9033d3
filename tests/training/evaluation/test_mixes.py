"""The simulation of priors: what is known of its figures at the ends."""

from pathlib import Path

import numpy as np
import pytest

from contract.labels import BUILT_IN
from tests.training.tiny import make_data, make_recipe
from training.data.examples import read_examples
from training.errors import BadInput
from training.evaluation import mixes as module
from training.evaluation.baseline import measure_baseline
from training.evaluation.crossvalidate import fold_file
from training.evaluation.folds import deal_examples
from training.evaluation.mixes import HeldOutAnswers, list_mixes, measure_mixes, simulate
from training.files import write_arrays
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


def test_answers_are_those_of_the_kept_folds_or_else_of_the_n_grams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIZES", (30,))
    make_data(tmp_path)
    recipe = make_recipe(tmp_path, evaluation={"folds": 3})
    with pytest.raises(BadInput, match="neither all folds of this recipe nor answers of the n-gr"):
        measure_mixes(recipe)
    measure_baseline(recipe)
    assert "## timss, answers of n-grams" in measure_mixes(recipe)
    examples = read_examples(recipe.sources, BUILT_IN, folds=3)
    for fold in range(3):  # models that take every problem for one of class 2
        inside = np.flatnonzero(deal_examples(recipe, examples) == fold)
        scores = np.zeros((len(inside), 15), dtype=np.float32)
        scores[:, 2] = 5.0
        arrays = {"retrospective": scores, "live": scores, "shift": np.zeros(15, dtype=np.float32)}
        write_arrays(fold_file(recipe, fold), arrays)
    told = measure_mixes(recipe)
    problems = told.split("## irf")[0].splitlines()
    assert problems[0] == f"## timss, answers of {recipe.name}"
    accuracy = [row.split(" | ")[4] for row in problems if row.startswith("| uniform")]
    assert len(accuracy) == 1
    assert all(0.0 < float(each) < 0.4 for each in accuracy[0].split(", "))
