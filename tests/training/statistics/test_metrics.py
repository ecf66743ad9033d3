"""Metrics against numbers worked out by hand, scikit-learn and plain resampling."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from training.statistics.confusion import (
    bootstrap_intervals,
    cohen_kappa,
    count_confusion,
    summarize_confusion,
    uniform_f1,
)
from training.statistics.metrics import evaluate_task, group_classes, wilson_interval
from training.statistics.probabilities import (
    Floats,
    Ints,
    brier_score,
    expected_calibration_error,
    take_softmax,
)

IDS = ("a", "b", "c")
PRIOR = np.array([0.6, 0.3, 0.1])


def _simulate(seed: int, items: int = 400) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=items, p=PRIOR)
    return rng.normal(size=(items, 3)) + 1.5 * np.eye(3)[labels], labels


def test_figures_worked_out_by_hand() -> None:
    """Six items; the predicted classes are 0 0 1 | 1 0 | 2."""
    logits = np.array(
        [[2, 0, 0], [2, 0, 0], [0, 2, 0], [0, 2, 0], [2, 0, 0], [0, 0, 2]], dtype=np.float64
    )
    result = evaluate_task(logits, np.array([0, 0, 0, 1, 1, 2]), IDS, PRIOR)
    assert result["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["macro_recall"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # Rows as shares: column sums 2/3 + 1/2, 1/3 + 1/2, 1, each row sum 1.
    expected = (2 * (2 / 3) / (13 / 6) + 2 * (1 / 2) / (11 / 6) + 1) / 3
    assert result["macro_f1_uniform"] == pytest.approx(expected)
    # Agreement 24/36 against chance (3·3 + 2·2 + 1·1)/36.
    assert result["kappa"] == pytest.approx((24 - 14) / (36 - 14))
    assert result["per_class"]["b"]["precision"] == pytest.approx(1 / 2)
    assert result["groups"]["few"] == {
        "labels": ["c"], "items": 1, "macro_recall": 1.0, "macro_f1": 1.0
    }  # fmt: skip
    # Every answer has confidence e²/(e²+2), one bin; at equal class sizes 13/18 are right.
    confidence = np.exp(2) / (np.exp(2) + 2)
    assert result["ece_uniform"] == pytest.approx(abs(13 / 18 - confidence))
    assert json.loads(json.dumps(result)) == result


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), items=st.integers(30, 120))
def test_figures_equal_scikit_learn(seed: int, items: int) -> None:
    logits, labels = _simulate(seed, items)
    labels[:3] = [0, 1, 2]  # scikit-learn averages over other classes when one is missing
    result = evaluate_task(logits / 1.3, labels, IDS, PRIOR)
    predictions = logits.argmax(axis=1)
    assert result["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert result["macro_recall"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert result["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert result["kappa"] == pytest.approx(cohen_kappa_score(labels, predictions))
    assert result["confusion"] == confusion_matrix(labels, predictions).tolist()
    table = precision_recall_fscore_support(labels, predictions, zero_division=0)
    for index, label_id in enumerate(IDS):
        found = result["per_class"][label_id]
        columns = ("precision", "recall", "f1", "support")
        assert [found[column] for column in columns] == pytest.approx([c[index] for c in table])
    balance = (1 / np.bincount(labels))[labels]
    even = take_softmax(logits / 1.3)
    nll = log_loss(labels, even, sample_weight=balance)
    brier = brier_score_loss(labels, even, sample_weight=balance, scale_by_half=False)
    assert result["nll_uniform"] == pytest.approx(nll)
    assert result["brier_uniform"] == pytest.approx(brier)
    adjusted = (logits / 1.3 + np.log(PRIOR)).argmax(axis=1)
    recall = balanced_accuracy_score(labels, adjusted)
    assert result["training_prior_answers"]["macro_recall"] == pytest.approx(recall)


def test_calibration_error_vanishes_under_the_right_prior_and_no_other() -> None:
    """A world with known class densities: exact logits are calibrated where the mix is theirs."""
    rng = np.random.default_rng(5)
    labels = rng.choice(3, size=60_000, p=PRIOR)
    # Unlike widths: between classes of one shape, errors under a wrong prior cancel in each bin.
    centres, widths = np.array([0.0, 2.0, -1.0]), np.array([3.0, 1.0, 0.5])
    points = centres[labels] + widths[labels] * rng.normal(size=len(labels))
    logits = -0.5 * ((points[:, None] - centres) / widths) ** 2 - np.log(widths)  # log densities
    result = evaluate_task(logits, labels, IDS, PRIOR)
    assert result["ece_uniform"] < 0.015
    assert result["ece_training"] < 0.015
    wrong = take_softmax(logits)  # uniform answers on traffic of the training mix
    even = np.full(len(labels), 1 / len(labels))
    assert expected_calibration_error(wrong, labels, even) > 0.03
    assert brier_score(wrong, labels, even) > result["brier_training"]
    assert result["training_prior_answers"]["accuracy"] > result["accuracy"]


def test_absent_class_is_left_out_of_the_averages() -> None:
    confusion = np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert summarize_confusion(confusion)["macro_recall"] == pytest.approx((0.75 + 1) / 2)
    logits, _ = _simulate(1, 4)
    result = evaluate_task(logits, np.array([0, 0, 1, 1]), IDS, PRIOR)
    assert result["groups"]["few"]["macro_recall"] is None
    assert result["per_class"]["c"]["recall_interval"] == [0.0, 1.0]


def test_bootstrap_equals_resampling_the_items_of_each_class() -> None:
    logits, labels = _simulate(2)
    predictions = logits.argmax(axis=1)
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(labels == index) for index in range(3)]
    found = []
    for _ in range(2000):
        drawn = np.concatenate([rng.choice(each, size=len(each)) for each in members])
        counts = np.bincount(3 * labels[drawn] + predictions[drawn], minlength=9).reshape(3, 3)
        found.append(np.mean(2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1))))
    confusion = count_confusion(labels, predictions, 3)
    interval = bootstrap_intervals(confusion, seed=0)["macro_f1"]
    assert interval == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.01)
    assert bootstrap_intervals(confusion, seed=0)["macro_f1"] == interval
    assert bootstrap_intervals(confusion, seed=1)["macro_f1"] != interval


def test_uniform_f1_does_not_depend_on_the_class_mix() -> None:
    confusion = np.array([[8, 1, 1], [2, 7, 1], [0, 3, 7]])
    skewed = confusion * np.array([[50], [5], [1]])
    assert uniform_f1(skewed) == pytest.approx(uniform_f1(confusion))
    assert uniform_f1(confusion) == pytest.approx(summarize_confusion(confusion)["macro_f1"])


def test_kappa_of_one_class_only() -> None:
    assert cohen_kappa(np.array([[5, 0], [0, 0]])) == 0.0


def test_wilson_interval() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx([0.0, 0.1611], abs=1e-4)


def test_groups_are_thirds_by_frequency() -> None:
    groups = group_classes(np.array([0.05, 0.4, 0.1, 0.3, 0.02, 0.1, 0.03]))
    assert groups == {"many": [1, 3, 2], "medium": [5, 0], "few": [6, 4]}


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (np.zeros((2, 3)), np.array([0]), "do not belong together"),
        (np.zeros((0, 3)), np.array([], dtype=np.int64), "do not belong together"),
        (np.array([[0.0, np.nan, 0.0]]), np.array([0]), "item 0 is not finite"),
        (np.zeros((1, 3)), np.array([3]), r"not in 0\.\.2"),
        (np.zeros((1, 4)), np.array([0]), "3 labels need as many"),
    ],
)
def test_arrays_that_do_not_match_are_refused(logits: Floats, labels: Ints, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluate_task(logits, labels, IDS, PRIOR)
