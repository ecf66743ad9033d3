"""Priors as they are asked for, and what they do to probabilities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.predictions import calibrate_logits
from contract.priors import (
    Mix,
    PriorError,
    decide,
    describe_mix,
    needs_review,
    parse_prior,
    resolve_prior,
    shift_prior,
)
from tests.contract.examples import make_task

LABELS = ("a", "b", "I-H")
TRAINING = (0.5, 0.3, 0.2)


def test_words_and_shares_are_read() -> None:
    assert parse_prior("training") == "training"
    assert parse_prior("a:0.5, b:0.3,I-H:0.2") == {"a": 0.5, "b": 0.3, "I-H": 0.2}


@pytest.mark.parametrize(
    "text", ["", "natural", "a", "a:", ":0.5", "a:x", "a:nan", "a:0", "a:-0.1", "a:1.5", "a:1,a:1"]
)
def test_what_is_no_prior_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(PriorError, match="must be uniform, training, estimate, or a share"):
        parse_prior(text)


def test_a_prior_is_resolved_for_the_labels_of_a_task() -> None:
    assert resolve_prior(LABELS, TRAINING, "uniform") == Mix("uniform", (1 / 3,) * 3)
    assert resolve_prior(LABELS, TRAINING, "training") == Mix("training", TRAINING)
    assert resolve_prior(LABELS, TRAINING, "estimate") is None
    stated = resolve_prior(LABELS, TRAINING, "I-H:0.335,a:0.335,b:0.335")
    assert stated is not None and stated.kind == "given"
    assert stated.shares == pytest.approx((1 / 3,) * 3)  # 1.005 is rounding, and made 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a:0.5,b:0.5", "must name each label of the task once: a, b, I-H"),
        ("a:0.4,b:0.3,I-H:0.2,c:0.1", "must name each label"),
        ("a:0.5,b:0.5,I-H:0.5", "sum to 1"),
    ],
)
def test_shares_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(PriorError, match=reason):
        resolve_prior(LABELS, TRAINING, text)


@given(st.lists(st.floats(-20, 20), min_size=7, max_size=7))
def test_shifting_says_what_calibration_under_the_prior_says(logits: list[float]) -> None:
    task = make_task()
    shifted = shift_prior(calibrate_logits(task, logits), task.training_prior)
    assert shifted == pytest.approx(calibrate_logits(task, logits, "training"), abs=1e-12)


def test_only_the_answer_alone_in_its_set_needs_no_review() -> None:
    assert not needs_review([2], 2)
    assert needs_review([1], 2)  # only the prior speaks for the answer
    assert needs_review([2, 1], 2)
    assert needs_review([], 2)


def test_a_mix_is_described_by_label() -> None:
    mix = Mix("estimated", TRAINING, ((0.4, 0.6), (0.2, 0.4), (0.1, 0.3)), 9)
    assert describe_mix(mix, LABELS) == {
        "kind": "estimated",
        "shares": {"a": 0.5, "b": 0.3, "I-H": 0.2},
        "intervals": {"a": [0.4, 0.6], "b": [0.2, 0.4], "I-H": [0.1, 0.3]},
        "items": 9,
    }
    assert describe_mix(Mix("training", TRAINING), LABELS)["intervals"] is None


def test_an_answer_is_for_the_mix_and_reviewed_by_its_set() -> None:
    probabilities = [0.5, 0.3, 0.2]
    assert decide(probabilities, [0], Mix("uniform", (0.1, 0.1, 0.8))) == (0, probabilities, False)
    best, shifted, review = decide(probabilities, [0], Mix("given", (0.1, 0.1, 0.8)))
    assert (best, review) == (2, True)
    assert shifted == pytest.approx([5 / 24, 3 / 24, 16 / 24])
