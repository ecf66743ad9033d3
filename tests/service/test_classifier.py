"""In which order the items of a request go to the engine."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contract.prompts import Prompt
from service.classifier import order_by_length


@given(st.lists(st.integers(0, 40)))
def test_items_of_like_length_are_neighbours_and_the_longest_comes_first(sizes: list[int]) -> None:
    order = order_by_length([Prompt([5] * size, False) for size in sizes])
    assert sorted(order) == list(range(len(sizes)))
    lengths = [sizes[index] for index in order]
    assert lengths == sorted(sizes, reverse=True)
    # Of equals the one that came first goes first.
    assert all(a < b or sizes[a] != sizes[b] for a, b in pairwise(order))
