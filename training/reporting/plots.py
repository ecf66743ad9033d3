"""The figures of a report, as PNG files. Labels are ids, so no font needs Chinese glyphs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.statistics.probabilities import BINS, Floats

_DPI = 150
_POINTS = 3000  # of a projection; more would only hide one another
_SOLID = 0.01  # a bin with a smaller share of the answers is noise and shown faintly
# Okabe and Ito's colours, told apart by most colour-blind readers; brown for their pale yellow.
_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6B4226", "#000000",
)  # fmt: skip
_MARKERS = "osD^vPX*"
_COLLAPSE_PANELS = (
    ("NC1: spread within / between classes", ("nc1",), "log"),
    ("NC2: departure from the simplex",
     ("nc2_norms", "nc2_angles", "nc2_head_norms", "nc2_head_angles"), "linear"),
    ("NC3: distance of head and class means", ("nc3",), "linear"),
    ("NC4: agreement with the nearest class mean", ("nc4",), "linear"),
)  # fmt: skip


def draw_confusion(result: Mapping[str, Any], title: str, path: Path) -> None:
    """Confusion matrix: colour is the share of the true class, the number the count."""
    counts = np.array(result["confusion"])
    label_ids = result["label_ids"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.62 * len(label_ids)
    figure, axes = _start(title, side, side - 0.5)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.55 else "#222222"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(label_ids)), label_ids, rotation=40, ha="right")
    axes.set_yticks(range(len(label_ids)), label_ids)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.03)
    _save(figure, path)


def draw_reliability(result: Mapping[str, Any], title: str, path: Path) -> None:
    """Reliability under both priors; areas, and the bars below, tell of how many answers."""
    figure = Figure(figsize=(5.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="ideal")
    for index, name in enumerate(("uniform", "training")):
        bins = result[f"reliability_{name}"]
        confidences, accuracies, weights = (
            np.array([each[key] for each in bins]) for key in ("confidence", "accuracy", "weight")
        )
        colour, label = _COLOURS[index], f"{name} prior, ECE {result[f'ece_{name}']:.3f}"
        solid = weights >= _SOLID
        upper.plot(confidences[solid], accuracies[solid], color=colour, linewidth=1)
        upper.scatter(confidences, accuracies, s=12 + 300 * weights, marker=_MARKERS[index],
                      color=colour, alpha=np.where(solid, 0.9, 0.35), linewidths=0,
                      clip_on=False, zorder=3)  # fmt: skip
        middles = (np.minimum(np.floor(confidences * BINS), BINS - 1) + 0.5) / BINS
        lower.bar(middles + (index - 0.5) * 0.026, weights, width=0.024, color=colour,
                  label=label)  # fmt: skip
    upper.set(title=title, ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    lower.set(xlabel="confidence (probability of the answer)", ylabel="share\nof answers")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    _clear_spines(upper, lower)
    _save(figure, path)


def draw_classes(result: Mapping[str, Any], title: str, path: Path) -> None:
    """Recall of each class with its 95% interval, precision and F1; frequent classes on top."""
    order = np.argsort(result["training_prior"], kind="stable")
    names = [result["label_ids"][index] for index in order]
    classes = [result["per_class"][name] for name in names]
    places = np.arange(len(names))
    recalls = np.array([each["recall"] for each in classes])
    intervals = np.array([each["recall_interval"] for each in classes]).T
    figure, axes = _start(title, 6.8, 1.9 + 0.42 * len(names))
    axes.barh(places, recalls, color="#9CC7E6", height=0.62, label="recall, 95% interval")
    errors = np.abs(intervals - recalls)
    axes.errorbar(recalls, places, xerr=errors, fmt="none", color="#333333", capsize=3, linewidth=1)
    axes.plot([each["precision"] for each in classes], places, "D", color=_COLOURS[5],
              markersize=5, label="precision")  # fmt: skip
    axes.plot([each["f1"] for each in classes], places, "o", color=_COLOURS[7],
              markersize=5, label="F1")  # fmt: skip
    axes.axvline(result["macro_recall"], color="#999999", linestyle="--", linewidth=1,
                 label=f"macro recall {result['macro_recall']:.3f}")  # fmt: skip
    ticks = [f"{name} ({each['support']})" for name, each in zip(names, classes, strict=True)]
    axes.set_yticks(places, ticks)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("score (in brackets: number of items)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    _clear_spines(axes)
    _save(figure, path)


def draw_projection(
    vectors: NDArray[np.floating],
    labels: NDArray[np.integer],
    label_ids: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """First two principal components of `vectors` (items, size), coloured by true class.

    A large set is thinned to 3000 items; the axes and class means are those of all.
    """
    wide, truth = np.asarray(vectors, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    points, explained = project(wide)
    figure, axes = _start(title, 7.4, 5.6)
    shown = np.random.default_rng(0).permutation(len(points))[:_POINTS]
    for index, label_id in enumerate(label_ids):
        members = shown[truth[shown] == index]
        colour = _COLOURS[index % len(_COLOURS)]
        axes.scatter(points[members, 0], points[members, 1], s=9, alpha=0.4, color=colour,
                     linewidths=0)  # fmt: skip
        if (truth == index).any():
            across, up = points[truth == index].mean(axis=0)
            axes.scatter(across, up, s=130, color=colour, marker=_MARKERS[index % len(_MARKERS)],
                         edgecolors="white", linewidths=1.2, zorder=3, label=label_id)  # fmt: skip
    axes.set_xlabel(f"component 1 ({explained[0]:.0%} of the variance)")
    axes.set_ylabel(f"component 2 ({explained[1]:.0%})")
    figure.legend(loc="outside right center", title="class mean", frameon=False)
    _clear_spines(axes)
    _save(figure, path)


def project(vectors: Floats) -> tuple[Floats, Floats]:
    """Principal components: points (items, 2) and the share of variance of both axes (2,)."""
    centred = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    leading = directions[:, [-1, -2]]
    # An eigenvector has no sign of its own: its largest entry is made positive.
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), [0, 1]])
    total = max(float(values.sum()), np.finfo(np.float64).tiny)
    return centred @ (leading * signs), values[[-1, -2]] / total


def draw_collapse(history: Sequence[Mapping[str, float]], title: str, path: Path) -> None:
    """NC1 to NC4 over training; an entry holds `step` and what `measure_collapse` returned."""
    figure = Figure(figsize=(8.6, 6.2), layout="constrained")
    figure.suptitle(title)
    steps = [entry["step"] for entry in history]
    for axes, (name, keys, scale) in zip(figure.subplots(2, 2).flat, _COLLAPSE_PANELS, strict=True):
        for index, key in enumerate(keys):
            values = [entry[key] for entry in history]
            label = key.removeprefix("nc2_").replace("_", " ")
            axes.plot(steps, values, marker=_MARKERS[index], markersize=4,
                      color=_COLOURS[index], label=label)  # fmt: skip
        axes.set(title=name, xlabel="step", yscale=scale)
        axes.title.set_fontsize(10)
        if scale == "linear":
            axes.set_ylim(0.0, 1.02 if keys == ("nc4",) else None)
        if len(keys) > 1:
            axes.legend(frameon=False, fontsize=8)
        axes.grid(alpha=0.25)
        _clear_spines(axes)
    _save(figure, path)


def _start(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _clear_spines(*panels: Axes) -> None:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    # No display and no global state; without the version stamp equal figures are equal files.
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
