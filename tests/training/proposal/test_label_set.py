"""Labels as they stand in data become a label set that a person can fill in."""

from pathlib import Path

import pytest

from contract.inputs import Kind
from training.data.examples import identify_label_set, read_label_set
from training.errors import BadInput
from training.proposal.label_set import infer_label_set, write_label_set


def test_ids_come_from_the_values_and_are_those_that_a_label_may_have() -> None:
    values = ["Press for accuracy", "Press for accuracy", "Press for accuracy", "重述", "重述",
              "3rd", "3rd", "press for accuracy", "press for accuracy", "Über", "Über"]  # fmt: skip
    labels = infer_label_set("talk", "problem", values, "a.csv")
    assert [(label.data_label, label.id) for label in labels.labels] == [
        ("Press for accuracy", "Press-for-accuracy"),
        ("重述", "label"),
        ("3rd", "label-3rd"),
        ("press for accuracy", "press-for-accuracy"),
        ("Über", "Uber"),
    ]


def test_values_that_differ_in_signs_alone_get_numbers() -> None:
    labels = infer_label_set("talk", "problem", ["a b", "a-b", "a_b"] * 2, "a.csv")
    assert labels.ids == ("a-b", "a-b-2", "a-b-3")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["a", "a"], "one label only"),
        (["a", "a", "b", "a"], "single example .*'b'"),
        (["a", "b", "c", "d", "d"], "4 different values are no labels"),
        ([str(number) for number in range(300)] * 2, "300 different values .*--label"),
    ],
)
def test_what_cannot_be_labels_is_told(values: list[str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        infer_label_set("talk", "problem", values, "a.csv")


@pytest.mark.parametrize(
    ("kind", "texts", "instruction"),
    [
        ("problem", ["The parcel is late"], "Decide which class this text"),
        ("problem", ["包裹还没有到"], "判断下面这段文本"),
        ("dialogue-turn", ["Where is it?"], "a part of a dialogue"),
        ("dialogue-turn", ["在哪里？"], "下面是一段对话"),
        ("problem", ["荷物はどこですか"], "Decide which class"),
        ("problem", [], "Decide which class"),
    ],
)
def test_a_chat_model_is_told_nothing_of_mathematics(
    kind: Kind, texts: list[str], instruction: str
) -> None:
    labels = infer_label_set("talk", kind, ["a", "b"] * 2, "a.csv", texts=texts)
    assert instruction in labels.instruction
    assert "math" not in labels.instruction and "数学" not in labels.instruction


def test_what_a_person_fills_in_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    labels = infer_label_set("talk", "problem", ["a", "b"] * 2, "a.csv")
    write_label_set(labels, path)
    assert read_label_set(path) == labels
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# The labels of talk")
    path.write_text(text.replace("Not written yet.", "What it is.", 1), encoding="utf-8")
    assert read_label_set(path).labels[0].definition == "What it is."
    path.write_text("labels: 3", encoding="utf-8")
    with pytest.raises(BadInput, match="not a label set: task: Field required; kind: ") as caught:
        read_label_set(path)
    assert "\n" not in str(caught.value)
    path.write_text("labels: [a\nb: c", encoding="utf-8")
    with pytest.raises(BadInput, match="not a label set: ") as caught:
        read_label_set(path)
    assert "\n" not in str(caught.value)


def test_what_people_fill_in_is_another_label_set_only_to_people() -> None:
    labels = infer_label_set("talk", "problem", ["a", "b"] * 2, "a.csv")
    own = labels.labels[0].model_copy(update={"name_en": "A", "definition": "What it is."})
    filled = labels.model_copy(update={"labels": (own, *labels.labels[1:])})
    told = labels.model_copy(update={"instruction": "Which one?"})
    for words in (False, True):
        same = identify_label_set(labels, words=words)
        assert (identify_label_set(filled, words=words) == same) is not words
        assert identify_label_set(told, words=words) != same
