"""The proof of an export: the number it stands on."""

import math

import numpy as np
import pytest

from training.checkpoints.parity import measure_changed_labels, measure_difference

HEADS = [[0, 1], [2, 3]]


def test_the_largest_difference_of_any_head() -> None:
    ours = np.array([[0, 0, 0, 0], [0, 0, 0, math.log(3)]], dtype=np.float32)
    theirs = np.array([[0, 0, 0, 0], [5, 5, 0, 0]], dtype=np.float32)
    # The first head is shifted only, which a softmax does not see; the second has 3/4 for 1/2.
    assert measure_difference(ours, theirs, HEADS) == pytest.approx(0.25)


@pytest.mark.parametrize("row", range(4))
def test_a_score_that_is_no_number_is_never_passed_over(row: int) -> None:
    scores = np.zeros((3, 4), dtype=np.float32)
    broken = scores.copy()
    broken[1, row] = math.nan
    assert math.isnan(measure_difference(scores, broken, HEADS))


def test_an_item_counts_once_whose_label_is_another_in_any_head() -> None:
    ours = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]], dtype=np.float32)
    theirs = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [2, 0, 0, 1], [3, 0, 9, 0]], dtype=np.float32)
    assert measure_changed_labels(ours, theirs, HEADS) == 0.5
