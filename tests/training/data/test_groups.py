"""Groups of examples that share text: who is joined, and who is not."""

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from training.data.examples import Example
from training.data.groups import group_examples, mask_numbers


def _examples(*items: AnyInput) -> list[Example]:
    return [
        Example(str(i), "irf" if isinstance(item, DialogueTurn) else "timss", item, 0)
        for i, item in enumerate(items)
    ]


def _turn(text: str, previous: str = "", following: str = "") -> DialogueTurn:
    return DialogueTurn(
        speaker="teacher",
        text=text,
        previous=(Turn(speaker="student", text=previous),) if previous else (),
        following=(Turn(speaker="student", text=following),) if following else (),
    )


def test_turns_that_share_a_long_turn_are_joined_also_through_others() -> None:
    long, other = "那我们先来看第一个分数的分母", "它们的最小公倍数是二十四对吗"
    groups = group_examples(
        _examples(
            _turn(long, "好"),
            _turn("对。", long),  # as a neighbour, it is the same turn
            _turn("很好。", long + "！", other),  # but for a sign
            _turn("对。", "好"),  # what is short recurs everywhere
            _turn(other),
        )
    )
    assert groups[0] == groups[1] == groups[2] == groups[4] != groups[3]


def test_problems_alike_but_for_numbers_or_a_few_words_are_joined() -> None:
    groups = group_examples(
        _examples(
            Problem(text="小明有12个苹果，吃了5个，还剩几个？"),
            Problem(text="小明有 7 个苹果，吃了2.5个，还剩几个？"),
            Problem(text="小红有12个苹果，吃了5个，还剩几个？"),
            Problem(text="三角形的内角和是多少度？"),
            Problem(text="3+5="),
            Problem(text="3×5="),
        )
    )
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 4


def test_tasks_are_never_joined() -> None:
    text = "三角形的内角和是多少度呢"
    problem, turn = _examples(Problem(text=text), _turn(text))
    first, second = group_examples([problem, turn])
    assert first != second


def test_numbers_are_masked_whole() -> None:
    assert mask_numbers("３．５ 米 + 120") == "0米+0"
