"""Which items share a step."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from contract.prompts import Prompt
from engine.batching import MAX_PASSES, choose_step, order_by_length


class Item(NamedTuple):
    tokens: int
    priority: int = 0
    passes: int = 0


ITEMS = st.lists(
    st.builds(Item, st.integers(1, 300), st.integers(-1, 3), st.integers(0, MAX_PASSES + 2)),
    min_size=1,
    max_size=60,
)


@given(ITEMS, st.integers(64, 1024), st.integers(1, 40))
def test_a_step_keeps_its_limits_and_has_no_item_twice(
    items: list[Item], max_tokens: int, max_items: int
) -> None:
    step = choose_step(items, max_tokens=max_tokens, max_items=max_items)
    assert 1 <= len(step) == len(set(step)) <= max_items
    covered = len(step) * max(items[index].tokens for index in step)
    assert covered <= max_tokens or len(step) == 1


@given(ITEMS)
def test_the_most_urgent_item_is_always_in_the_step(items: list[Item]) -> None:
    step = choose_step(items, max_tokens=256, max_items=8)
    waited = [index for index, item in enumerate(items) if item.passes >= MAX_PASSES]
    candidates = waited or range(len(items))
    first = min(candidates, key=lambda index: (items[index].priority, index))
    assert step[0] == first


def test_items_of_like_length_go_together() -> None:
    items = [Item(100), Item(20), Item(98), Item(21), Item(99)]
    assert sorted(choose_step(items, max_tokens=1024, max_items=3)) == [0, 2, 4]


def test_nobody_is_passed_over_for_ever() -> None:
    waiting = [Item(300, priority=3)]
    for number in range(MAX_PASSES + 1):
        items = [*waiting, Item(30, priority=0), Item(31, priority=0)]
        step = choose_step(items, max_tokens=320, max_items=8)
        if 0 in step:
            assert number == MAX_PASSES
            return
        waiting = [waiting[0]._replace(passes=waiting[0].passes + 1)]
    raise AssertionError("the long item was never computed")


@given(st.lists(st.integers(0, 40)))
def test_items_of_like_length_are_neighbours_and_the_longest_comes_first(sizes: list[int]) -> None:
    order = order_by_length([Prompt([5] * size, False) for size in sizes])
    assert sorted(order) == list(range(len(sizes)))
    lengths = [sizes[index] for index in order]
    assert lengths == sorted(sizes, reverse=True)
    # Of equals the one that came first goes first.
    assert all(a < b or sizes[a] != sizes[b] for a, b in pairwise(order))
