"""The behavioural tests as they are written: whole, and changed only in form."""

from collections import Counter
from pathlib import Path

import pytest

from contract.inputs import DialogueTurn, Problem
from contract.labels import BUILT_IN
from training.data.behaviour import Functionality, Invariance, list_pairs, read_tests
from training.errors import BadInput


def test_every_label_has_fifteen_plain_items_and_no_item_stands_twice() -> None:
    tests = [test for test in read_tests() if isinstance(test, Functionality)]
    counts = Counter((test.task, test.label) for test in tests)
    for task, label_set in BUILT_IN.items():
        assert all(counts[task, label] >= 15 for label in label_set.ids), task
    assert len(counts) == 15
    assert len({test.input for test in tests}) == len(tests)


def test_kinds_are_those_that_the_page_names() -> None:
    kinds = {test.kind for test in read_tests() if isinstance(test, Invariance)}
    assert kinds == {"numbers", "names", "units", "blank", "calculation prefix", "wording"}


def test_forms_change_how_an_item_is_written_and_nothing_else() -> None:
    problem = Functionality(
        test="functionality", task="timss", label="recall", input=Problem(text="3+5等于多少？")
    )
    turn = Functionality(
        test="functionality",
        task="irf",
        label="R-FR",
        input=DialogueTurn(speaker="student", text="8。"),
    )
    forms = {pair.kind: pair.other.text for pair in list_pairs([problem])}
    assert forms == {
        "full width": "\uff13\uff0b\uff15等于多少？",
        "half width": "3+5等于多少?",
        "end": "3+5等于多少",
        "blanks": "3+5 等于多少？",
        "prefix": "题目：3+5等于多少？",
    }
    (prefix,) = [pair.other for pair in list_pairs([turn]) if pair.kind == "prefix"]
    assert prefix == turn.input.model_copy(update={"text": "学生：8。"})


@pytest.mark.parametrize("line", ["{}", "no JSON", '{"test": "functionality", "task": "timss"}'])
def test_what_is_no_test_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "own.jsonl"
    good = '{"test": "functionality", "task": "timss", "label": "recall", "input": {"text": "题"}}'
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"own\.jsonl:2: is no behavioural test"):
        read_tests([path])
