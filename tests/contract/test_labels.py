"""The two built-in label sets are those of DESIGN.md, section 2."""

import pytest
from pydantic import ValidationError

from contract.inputs import DialogueTurn, Problem
from contract.labels import BUILT_IN, IRF, TIMSS, LabelSet


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
