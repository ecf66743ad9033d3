"""The figures that the pages quote of the bundled checkpoint are those of its manifest."""

import re
from typing import Any

import numpy as np
import pytest

from contract.manifest import read_manifest
from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.docs.pages import READMES, read_page
from training.statistics.confusion import class_scores

MODES = (("timss", "retrospective"), ("irf", "retrospective"), ("irf", "live"))


def read_evaluation(task: str, mode: str) -> dict[str, Any]:
    manifest = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False)
    evaluation: dict[str, Any] = manifest.task(task).evaluation[mode]
    return evaluation


def measure_precision(evaluation: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Precision of each class were all equally frequent, and for the mix of the data."""
    counts = np.array(evaluation["confusion"])
    shares = counts / counts.sum(axis=1, keepdims=True)
    equal, data = class_scores(shares)[0], class_scores(counts)[0]
    return equal.tolist(), data.tolist()


def read_rows(path: str) -> list[str]:
    return [line for line in read_page(path).text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("path", [*READMES, "docs/evaluation.md"])
def test_the_headline_is_that_of_the_manifest(path: str) -> None:
    text = read_page(path).text
    for task, mode in MODES:
        evaluation = read_evaluation(task, mode)
        low, high = evaluation["intervals"]["macro_recall"]
        headline = f"{evaluation['macro_recall']:.3f} [{low:.3f}, {high:.3f}]"
        equal, data = map(np.mean, measure_precision(evaluation))
        wanted = f"{headline} | {equal:.3f} | {data:.3f} | {evaluation['accuracy']:.3f}"
        assert wanted in text, (task, mode)
        adjusted = evaluation["training_prior_answers"]
        for key in ("accuracy", "macro_recall"):
            assert f"{adjusted[key]:.3f}" in text, (task, mode, key)


def test_the_figures_of_each_class_are_those_of_the_manifest() -> None:
    rows = read_rows("docs/evaluation.md")
    wanted: dict[str, list[str]] = {}
    for task, mode in MODES:
        evaluation = read_evaluation(task, mode)
        for label, equal, data in zip(
            evaluation["label_ids"], *measure_precision(evaluation), strict=True
        ):
            scores = evaluation["per_class"][label]
            items = [] if mode == "live" else [f"{scores['support']:,}"]
            figures = [f"{each:.3f}" for each in (scores["recall"], equal, data)]
            wanted.setdefault(label, []).extend([*items, *figures])
    for label, figures in wanted.items():
        assert f"| {label} | {' | '.join(figures)} |" in rows


def test_calibration_is_that_of_the_manifest() -> None:
    rows = read_rows("docs/evaluation.md")
    for task, mode in MODES:
        after = read_evaluation(task, mode)["cross_fit"]["after"]
        keys = ("ece_uniform", "ece_training", "brier_uniform", "brier_training")
        figures = " | ".join(f"{after[key]:.3f}" for key in keys)
        assert any(row.endswith(f"| {figures} |") for row in rows), (task, mode)


def test_the_fingerprint_is_that_of_the_bundled_checkpoint() -> None:
    fingerprint = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False).fingerprint
    for path in ("docs/api.md", "docs/evaluation.md"):
        named = set(re.findall(r"\b[0-9a-f]{12}\b", read_page(path).text))
        assert named == {fingerprint}, path
