"""From logits to probabilities, against numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.labels import TIMSS
from contract.predictions import calibrate_logits, predict_set, read_head, select_rows
from tests.contract.examples import make_task

logits = st.lists(st.floats(-50, 50), min_size=7, max_size=7)


def test_rows_are_picked_in_label_order() -> None:
    task = make_task(rows=[6, 5, 4, 3, 2, 1, 0])
    assert select_rows(task, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 99.0]) == [6, 5, 4, 3, 2, 1, 0]


def test_temperature_and_prior_by_hand() -> None:
    task = make_task(temperature=2.0)
    values = [2 * math.log(weight) for weight in (1, 2, 3, 4, 5, 6, 7)]
    assert calibrate_logits(task, values) == pytest.approx([n / 28 for n in range(1, 8)])
    # The example's prior is n/28 too, so the training mix squares the weights: Σn² = 140.
    expected = [n * n / 140 for n in range(1, 8)]
    assert calibrate_logits(task, values, "training") == pytest.approx(expected)


def test_biases_by_hand() -> None:
    weights, biases = (1, 2, 3, 4, 5, 6, 7), [math.log(n) for n in (7, 6, 5, 4, 3, 2, 1)]
    task = make_task(temperature=0.5, biases=biases)
    values = [0.5 * math.log(weight) for weight in weights]
    products = [7, 12, 15, 16, 15, 12, 7]  # they sum to 84
    assert calibrate_logits(task, values) == pytest.approx([n / 84 for n in products])
    shares = [n * weight for n, weight in zip(products, weights, strict=True)]
    expected = [share / sum(shares) for share in shares]
    assert calibrate_logits(task, values, "training") == pytest.approx(expected)


@given(logits)
def test_probabilities_sum_to_one_and_keep_the_order(values: list[float]) -> None:
    probabilities = calibrate_logits(make_task(), values)
    assert sum(probabilities) == pytest.approx(1.0)
    best = max(range(7), key=lambda i: values[i])
    assert probabilities[best] == max(probabilities)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_never_served(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        calibrate_logits(make_task(), [bad, *[0.0] * 6])


def test_prediction_set_holds_what_reaches_its_threshold() -> None:
    task = make_task(conformal_thresholds=[0.2, 0.3, 0.05, 0.9, 0.9, 0.9, 0.9])
    probabilities = [0.2, 0.29, 0.4, 0.11, 0.0, 0.0, 0.0]
    assert predict_set(task, probabilities) == [2, 0]
    assert predict_set(task, [1 / 7] * 7) == [2]
    assert predict_set(make_task(conformal_thresholds=[0.9] * 7), probabilities) == []
    assert len(task.conformal_thresholds) == len(TIMSS.labels)


def test_a_head_is_read_off_all_scores_of_the_checkpoint() -> None:
    task = make_task(rows=range(2, 9), conformal_thresholds=[0.2] * 7)
    scores = [99.0, 99.0, *(2 * math.log(weight) for weight in (1, 2, 3, 4, 5, 6, 7)), 99.0]
    answer = read_head(task, scores)
    assert answer.logits == scores[2:9]
    assert answer.probabilities == pytest.approx([n / 28 for n in range(1, 8)])
    assert answer.prediction_set == [6, 5]
    with pytest.raises(ValueError, match="not finite"):
        read_head(task, [math.nan] * 9)
