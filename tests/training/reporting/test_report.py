"""Reports and model cards: what they say is what was measured, and the figures show it."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from sklearn.decomposition import PCA

from contract.labels import IRF, TIMSS, LabelSet
from training.errors import BadInput
from training.losses.collapse_metrics import measure_collapse
from training.reporting.markdown_tables import (
    Results,
    align_table,
    tabulate_classes,
    tabulate_summary,
    write_table,
)
from training.reporting.plots import draw_classes, project
from training.reporting.report import write_report
from training.statistics.conformal import cross_fit
from training.statistics.metrics import evaluate_task
from training.statistics.probabilities import Floats, Ints
from training.statistics.scaling import fit_scaling


def _simulate(label_set: LabelSet, items: int = 300) -> tuple[Floats, Ints, Floats]:
    """Features, labels and head of a mediocre model; every class occurs."""
    classes = len(label_set.labels)
    rng = np.random.default_rng(classes)
    head = rng.normal(size=(classes, 16))
    labels = rng.integers(classes, size=items) * rng.integers(2, size=items)  # class 0 is frequent
    labels[:classes] = np.arange(classes)
    return 0.6 * head[labels] + rng.normal(size=(items, 16)), labels, head


def _evaluate(label_set: LabelSet, *, crossed: bool) -> tuple[dict[str, object], Floats, Ints]:
    features, labels, head = _simulate(label_set)
    logits = features @ head.T
    prior = np.bincount(labels) / len(labels)
    scaling = fit_scaling(logits, labels)
    result = evaluate_task(scaling.apply(logits), labels, label_set.ids, prior)
    result |= scaling.describe()
    if crossed:
        result["cross_fit"] = cross_fit(logits, labels, prior)
    return result, logits, labels


@pytest.fixture(scope="module")
def measured() -> tuple[Results, dict[str, tuple[Floats, Ints]]]:
    sets = {"timss": (TIMSS, False), "irf/live": (IRF, True)}
    evaluated = {name: _evaluate(each, crossed=crossed) for name, (each, crossed) in sets.items()}
    results = {name: each[0] for name, each in evaluated.items()}
    return results, {name: each[1:] for name, each in evaluated.items()}


def test_report_holds_every_figure_and_shows_every_file(
    measured: tuple[Results, dict[str, tuple[Floats, Ints]]], tmp_path: Path
) -> None:
    results, arrays = measured
    features, labels, head = _simulate(IRF)
    history = [
        {"step": step, **measure_collapse(features, labels, head * step)} for step in (1, 2, 3)
    ]
    folder = tmp_path / "new" / "report"
    write_report(
        folder,
        results,
        arrays,
        [TIMSS, IRF],
        features={"irf/live": (features, labels)},
        collapse={"irf": history},
    )
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    text = (folder / "report.md").read_text(encoding="utf-8")
    live = results["irf/live"]
    crossed = live["cross_fit"]
    for value in (
        live["macro_recall"],
        live["kappa"],
        results["timss"]["ece_uniform"],
        crossed["after"]["ece_training"],
        crossed["sets"]["coverage"],
    ):
        assert f"{value:.3f}" in text
    figures = sorted(folder.glob("*.png"))
    assert len(figures) == 9
    for path in figures:
        assert f"]({path.name})" in text
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 400
        assert float(pixels[..., :3].std()) > 0.05  # something is drawn
    assert (
        "Features of one fold, in the span of the head, first two" in text.split("## irf/live")[1]
    )
    assert "Logits, first two" in text.split("## timss")[1].split("## irf/live")[0]


def test_equal_evaluations_are_equal_files(
    measured: tuple[Results, dict[str, tuple[Floats, Ints]]], tmp_path: Path
) -> None:
    result = measured[0]["timss"]
    for name in ("a.png", "b.png"):
        draw_classes(result, "TIMSS", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    changed = {**result, "macro_recall": 0.1}
    draw_classes(changed, "TIMSS", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes() != (tmp_path / "a.png").read_bytes()


def test_projection_equals_scikit_learn() -> None:
    features, _, _ = _simulate(IRF)
    points, explained = project(features)
    reference = PCA(2).fit(features)
    assert np.abs(points) == pytest.approx(np.abs(reference.transform(features)), abs=1e-9)
    assert explained == pytest.approx(reference.explained_variance_ratio_)


def test_tables_state_intervals_and_escape() -> None:
    result, _, labels = _evaluate(TIMSS, crossed=False)
    low, high = result["intervals"]["macro_recall"]  # type: ignore[index]
    assert f"{result['macro_recall']:.3f} [{low:.3f}, {high:.3f}]" in tabulate_summary(
        {"timss": result}
    )
    rows = tabulate_classes(result, TIMSS).splitlines()
    assert len(rows) == 2 + 7
    assert rows[2].startswith(f"| recall (Recall) | {int((labels == 0).sum())} | ")
    assert write_table(["a", "b"], [["x|y", "1"]]).splitlines() == [
        "| a | b |", "| --- | ---: |", "| x\\|y | 1 |"
    ]  # fmt: skip


def test_a_table_for_the_terminal_stands_in_columns() -> None:
    rows = [["irf", "300", "0.8 [0.7, 0.9]"], ["a|b", "7", "–"]]
    table = write_table(["set", "items", "recall"], rows)
    assert align_table(table).splitlines() == [
        "set  items          recall",
        "irf    300  0.8 [0.7, 0.9]",
        "a|b      7               –",
    ]


def test_set_without_labels_or_arrays_is_refused(
    measured: tuple[Results, dict[str, tuple[Floats, Ints]]], tmp_path: Path
) -> None:
    results, arrays = measured
    with pytest.raises(ValueError, match="irf"):
        write_report(tmp_path, results, arrays, [TIMSS])
    with pytest.raises(ValueError, match="do not cover"):
        write_report(tmp_path, results, {"timss": arrays["timss"]}, [TIMSS, IRF])
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_bad_input(
    measured: tuple[Results, dict[str, tuple[Floats, Ints]]], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(BadInput, match="choose another folder"):
        write_report(blocked, *measured, [TIMSS, IRF])
