"""Planted labels are wrong, as many as were asked for, and are found."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.audit.rows import make_rows, write_table
from training.audit.judgement import judge_by_ngrams, vectorize
from training.audit.planting import find_planted, measure_planted, plant
from training.audit.rows import read_table_rows
from training.recipe.recipe import ColumnNames


def test_planted_labels_are_wrong_and_as_many_as_asked_for() -> None:
    labels = np.arange(300) % 3
    probabilities = np.full((300, 3), 1 / 3)
    changed = plant(labels, probabilities, 0.1, "any", seed=0)
    assert (changed != labels).sum() == 30
    assert not np.array_equal(changed, plant(labels, probabilities, 0.1, "any", seed=1))


def test_a_confused_label_is_the_likely_one() -> None:
    labels = np.zeros(1000, dtype=np.int64)
    probabilities = np.tile([0.5, 0.45, 0.05], (1000, 1))
    changed = plant(labels, probabilities, 0.4, "confused", seed=0)
    counts = np.bincount(changed, minlength=3)
    assert counts[1:].sum() == 400 and counts[1] > 7 * counts[2]
    assert np.array_equal(probabilities, np.tile([0.5, 0.45, 0.05], (1000, 1)))


def test_planted_labels_are_found_where_the_classes_are_clear(tmp_path: Path) -> None:
    _, rows = read_table_rows(write_table(tmp_path / "a.csv", make_rows(80)), ColumnNames())
    matrix = vectorize(rows)
    before = judge_by_ngrams(rows, rows.labels, matrix)
    run = find_planted(rows, matrix, before, 0.05, "any", seed=0)
    assert run.planted == 12
    assert run.found >= 11 and run.first[0] >= 10 and run.rows <= 24
    assert run.share == pytest.approx(0.05, abs=0.03)
    table = measure_planted(rows, matrix, before, 0.05, [0])
    assert table.count("\n") == 4 and "| confused | 12 |" in table
