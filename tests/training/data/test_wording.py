"""Texts in other words keep what they ask."""

import random
import re
from collections.abc import Callable

import pytest

from contract.inputs import DialogueTurn, Problem
from training.data.behaviour import read_tests
from training.data.wording import (
    Change,
    ask_for_gap,
    exchange_units,
    leave_gap,
    pick_sum,
    restate_sum,
    reword,
    type_turn,
)


@pytest.mark.parametrize(
    ("change", "text", "pattern"),
    [
        (ask_for_gap, "7千克=____克．", r"7千克(等于|是|=|合)多少克(？|\?|呢？)?"),
        (
            ask_for_gap,
            "一条边长9厘米，周长是（　　）厘米。",
            r"一条边长9厘米，周长是多少厘米(？|\?|呢？)?",
        ),
        (leave_gap, "3天共看了多少页？", r"3天共看了(_+|[（(][ 　]*[）)])页[。．]"),
        (leave_gap, "4的8倍是多少？", r"4的8倍是(_+|[（(][ 　]*[）)])[。．]"),
        (restate_sum, "计算：48÷6", r"(计算：?|口算：)?48÷6(=|＝|等于多少？|等于几？|=____|=？)?"),
        (pick_sum, "口算．36÷4=  25×4=", r"(36÷4|25×4)="),
        (exchange_units, "5千克是5公斤", r"5(千克|公斤|kg)是5(千克|公斤|kg)"),
        (type_turn, "嗯，等于五分之三。", r"(嗯，)?等于3/5。"),
    ],
)
def test_a_text_says_the_same_in_other_words(change: Change, text: str, pattern: str) -> None:
    forms = {change(text, random.Random(seed)) for seed in range(40)}
    assert len(forms - {text}) >= 1
    assert all(re.fullmatch(pattern, form) for form in forms), forms


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (ask_for_gap, "3米=____厘米=____毫米"),
        (ask_for_gap, "8是（　　） A．偶数 B．奇数"),
        (ask_for_gap, "在____里填上7的倍数，使等式成立"),
        (leave_gap, "两个数各是多少，为什么？"),
        (restate_sum, "小明有3个苹果"),
        (pick_sum, "小明算出3+4=7和5+6=11，对吗？"),
        (exchange_units, "面积是6平方厘米"),
        (type_turn, "分母是一十分之几"),
    ],
)
def test_a_text_that_does_not_fit_stays(change: Callable[..., str], text: str) -> None:
    assert {change(text, random.Random(seed)) for seed in range(20)} == {text}


def test_every_plain_item_of_the_behavioural_tests_survives() -> None:
    for test in read_tests():
        for seed in range(5):
            changed = reword(test.input, random.Random(seed))
            assert changed.text.strip()
            assert type(changed) is type(test.input)
            # The numbers that an item is about are in it still, written in one way or another.
            if isinstance(changed, Problem):
                wanted = re.findall(r"\d+", test.input.text)
                assert set(wanted) <= set(re.findall(r"\d+", changed.text)), changed.text


def test_a_turn_keeps_its_speaker_and_its_context() -> None:
    before = DialogueTurn(speaker="student", text="三分之二。", previous=(), following=())
    forms = {reword(before, random.Random(seed)).text for seed in range(60)}
    assert any("2/3" in form for form in forms)
    assert any(form.startswith(("学生", "生", "S")) for form in forms)
    assert not any(form.startswith(("老师", "教师", "T")) for form in forms)
