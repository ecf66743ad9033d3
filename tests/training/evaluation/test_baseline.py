"""The n-gram baseline: measured as a checkpoint is, and kept to be compared with."""

from pathlib import Path

import numpy as np
import pytest

from contract.labels import BUILT_IN
from tests.training.tiny import make_data, make_recipe
from training.data.examples import read_examples
from training.evaluation.baseline import measure_baseline, read_baseline
from training.evaluation.folds import deal_examples


def test_the_baseline_is_measured_on_the_same_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tmp_path)
    recipe = make_recipe(tmp_path, evaluation={"folds": 3})
    results = measure_baseline(recipe)
    assert [result["macro_recall"] for result in results.values()] == [1.0, 1.0]  # words tell
    assert "timss: macro recall 1.0000 [1.000, 1.000]" in capsys.readouterr().out
    examples = read_examples(recipe.sources, BUILT_IN, folds=3)
    folds = deal_examples(recipe, examples)
    inside = np.array([example.task == "irf" for example in examples])
    labels = np.array([example.label for example in examples])[inside]
    kept = read_baseline(recipe, "irf", labels, folds[inside])
    assert kept is not None and kept.shape == (48, 8)
    assert (kept.argmax(axis=1) == labels).all()
    assert read_baseline(recipe, "irf", labels, folds[inside][::-1]) is None  # other folds
