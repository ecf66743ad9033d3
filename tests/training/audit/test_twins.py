"""Rows that are alike and have different labels."""

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from training.audit.twins import LIKENESSES, find_twins
from training.data.examples import UNLABELLED, Example


def _make(*pairs: tuple[AnyInput | str, int]) -> list[Example]:
    return [
        Example(str(place), "t", Problem(text=item) if isinstance(item, str) else item, label)
        for place, (item, label) in enumerate(pairs)
    ]


def _turn(text: str, before: str = "", after: str = "") -> DialogueTurn:
    return DialogueTurn(
        speaker="student",
        text=text,
        previous=(Turn(speaker="teacher", text=before),) if before else (),
        following=(Turn(speaker="teacher", text=after),) if after else (),
    )


def test_the_label_that_most_have_is_not_doubted() -> None:
    text = "一条绳子剪去三分之一，还剩多少？"
    found = find_twins(_make((text, 0), (f" {text}", 0), (text, 1), ("三角形有几个角？", 1)))
    assert list(found) == [2]
    assert found[2].others == (0, 1) and found[2].suggested == 0
    assert LIKENESSES[found[2].likeness] == "the same text"


def test_of_two_that_disagree_both_are_doubted() -> None:
    found = find_twins(_make(("３+5=", 0), ("3 + 5 =", 1), ("3×5=", 2)))
    assert {place: twin.suggested for place, twin in found.items() if twin.likeness == 0} == {
        0: 1, 1: 0,
    }  # fmt: skip


def test_other_numbers_and_a_word_more_are_alike_too() -> None:
    found = find_twins(
        _make(
            ("小明有12个苹果，吃了5个，还剩几个？", 0),
            ("小明有7个苹果，吃了2个，还剩几个？", 1),
            ("学校图书馆买来故事书和科技书共三百六十本，其中故事书比科技书多，科技书有多少本？", 2),
            ("学校图书馆买来故事书和科技书共三百六十本，其中故事书比科技书多，科技书有多少册？", 1),
        )
    )
    assert [found[place].likeness for place in range(4)] == [1, 1, 2, 2]


def test_short_turns_recur_and_prove_nothing() -> None:
    found = find_twins(
        _make(
            (_turn("对。"), 0),
            (_turn("对。"), 1),
            (_turn("对。", "这是一个直角三角形吗？"), 0),
            (_turn("对。", "这是一个直角三角形吗？", "很好"), 1),
            (_turn("对。", "那这个三角形是等边的吗？"), 1),
        )
    )
    assert sorted(found) == [2, 3]


def test_who_has_no_label_is_no_witness() -> None:
    assert find_twins(_make(("三角形有几个角？", 0), ("三角形有几个角？", UNLABELLED))) == {}
