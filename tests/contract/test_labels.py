"""The two built-in label sets are those of DESIGN.md, section 2."""

import pytest
from pydantic import ValidationError

from contract.inputs import DialogueTurn, Problem
from contract.labels import BUILT_IN, IRF, TIMSS, LabelSet, add_moves


def test_the_seven_dimensions() -> None:
    assert TIMSS.index_by_data_label() == {
        "回忆": 0, "识别": 1, "选取策略": 2, "表征建模": 3, "过程实施": 4, "推断": 5, "分析": 6,
    }  # fmt: skip
    domains = {label.id: label.group for label in TIMSS.labels}
    assert domains == {
        "recall": "knowing", "identify": "knowing", "formulate": "applying",
        "represent": "applying", "implement": "applying", "infer": "reasoning",
        "analyze": "reasoning",
    }  # fmt: skip


def test_the_eight_moves() -> None:
    moves = {label.id: label.group for label in IRF.labels}
    assert moves == {
        "I-Q": "initiation", "I-H": "initiation", "R-RR": "response", "R-SR": "response",
        "R-FR": "response", "F-F": "feedback", "F-I": "feedback", "U": "none",
    }  # fmt: skip
    assert BUILT_IN == {"timss": TIMSS, "irf": IRF}


def test_the_groups_of_irf_are_its_moves() -> None:
    assert {name: move for name, move in IRF.moves.items() if name == move} == IRF.moves
    assert {*IRF.moves, "none"} == {label.group for label in IRF.labels}
    assert IRF.question_labels == ("I-Q",)
    assert not TIMSS.moves and not TIMSS.question_labels


def test_a_set_of_before_there_were_moves_takes_on_those_of_the_built_in_one() -> None:
    before = LabelSet.model_validate(IRF.model_dump(exclude={"moves", "question_labels"}))
    assert not before.moves
    assert add_moves(before) == IRF and add_moves(IRF) is IRF
    others = before.model_copy(update={"labels": before.labels[1:]})
    assert add_moves(others) is others and add_moves(TIMSS) is TIMSS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"moves": {"I-X": "initiation"}}, "moves of label set 'irf' needs ids or groups"),
        ({"moves": {"I-Q": "opening"}}, "'initiation', 'response', 'feedback' or 'none'"),
        ({"moves": {"feedback": "feedback"}}, "need an initiation"),
        ({"question_labels": ("I-Q", "I-Q")}, "question_labels of label set 'irf' needs"),
        ({"kind": "problem"}, "is of no turns"),
        ({"kind": "problem", "moves": {}}, "is of no turns"),
    ],
)
def test_moves_are_those_of_labels_of_turns(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        LabelSet.model_validate(IRF.model_dump() | changes)


def test_repeated_labels_are_refused() -> None:
    labels = [label.model_dump() for label in TIMSS.labels[:2]]
    labels[1]["id"] = labels[0]["id"]
    with pytest.raises(ValidationError, match="repeats id recall"):
        LabelSet.model_validate({"task": "x", "kind": "problem", "name": "x", "labels": labels})


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Problem, {"text": " \n "}),
        (Problem, {"text": "1+1=?", "question": "?"}),
        (DialogueTurn, {"speaker": "parent", "text": "好"}),
        (DialogueTurn, {"speaker": "teacher", "text": "好", "previous": [{"text": "好"}]}),
    ],
)
def test_malformed_inputs_are_refused(model: type, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model(**fields)
