"""Rows of a dialogue are found wherever they stand, in the order they were spoken."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bulk.rows.dialogues import choose_bucket, group_rows
from tests.bulk.fake_labelling import TURNS, make_batch


def group(dialogue: Sequence[Any], order: Sequence[Any] | None = None) -> list[list[int]]:
    batch = make_batch(dialogue=dialogue, order=order or [None] * len(dialogue))
    return group_rows(batch, TURNS._replace(order="order" if order else None))


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1))
def test_each_row_is_in_one_group_of_its_own_dialogue(names: list[str | None]) -> None:
    groups = group(names)
    assert sorted(place for each in groups for place in each) == list(range(len(names)))
    for each in groups:
        assert each == sorted(each)
        assert len({names[place] for place in each}) == 1
        assert names[each[0]] is not None or len(each) == 1
    named = {name for name in names if name is not None}
    assert len(groups) == len(named) + names.count(None)


def test_numbers_say_the_order_and_texts_of_numbers_too() -> None:
    assert group(["a", "a", "a"], ["10", "9", "1"]) == [[2, 1, 0]]
    assert group(["a", "b", "a"], [2.5, 0.0, 1.0]) == [[2, 0], [1]]


def test_an_order_with_a_gap_is_none() -> None:
    assert group(["a", "a"], ["2", "eins"]) == [[0, 1]]


def test_without_a_column_all_rows_are_one_dialogue() -> None:
    batch = make_batch(text=["一", "二"])
    assert group_rows(batch, TURNS._replace(dialogue=None)) == [[0, 1]]


def test_buckets_are_the_same_in_every_run_and_share_the_rows() -> None:
    # Of Python's own hash they would not be.
    assert [choose_bucket(f"lesson {n}", 0, 7) for n in range(5)] == [5, 6, 6, 6, 2]
    buckets = [choose_bucket(f"lesson {n}", 0, 8) for n in range(800)]
    assert all(60 < buckets.count(bucket) < 140 for bucket in range(8))
    assert choose_bucket(7, 0, 8) == choose_bucket("7", 1, 8)
    assert len({choose_bucket(None, row, 8) for row in range(100)}) == 8
