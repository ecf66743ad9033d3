"""Neural-collapse metrics on a collapsed world, on known departures from it, and slowly."""

import json

import numpy as np
import pytest

from training.losses.collapse_metrics import measure_collapse
from training.losses.losses import simplex_etf
from training.statistics.probabilities import Floats, Ints

CLASSES, HIDDEN = 5, 12


def _collapsed() -> tuple[Floats, Ints, Floats]:
    """Long-tailed classes, each sitting on its vertex; the head points at the vertices."""
    vertices = simplex_etf(CLASSES, HIDDEN, seed=0).double().numpy()
    labels = np.repeat(np.arange(CLASSES), [50, 20, 10, 4, 1])
    # Far from the origin, in a direction that a head without bias does not see.
    offset = np.linalg.svd(vertices)[2][-1]
    return 3.0 * vertices[labels] + 7.0 * offset, labels, 0.2 * vertices


def _scattered(seed: int) -> tuple[Floats, Ints, Floats]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), [40, 20, 30, 9, 15])
    centres = 2 * rng.normal(size=(CLASSES, HIDDEN))
    points = centres[labels] + rng.normal(size=(len(labels), HIDDEN))
    return points, labels, rng.normal(size=(CLASSES, HIDDEN))


def test_full_collapse() -> None:
    result = measure_collapse(*_collapsed())
    assert result.pop("nc4") == 1.0
    assert result == pytest.approx(dict.fromkeys(result, 0.0), abs=1e-6)
    assert list(result) == [
        "nc1", "nc2_norms", "nc2_angles", "nc2_head_norms", "nc2_head_angles", "nc3"
    ]  # fmt: skip


def test_spread_within_classes_equals_the_covariance_formula() -> None:
    points, labels, head = _scattered(1)
    means = np.stack([points[labels == index].mean(axis=0) for index in range(CLASSES)])
    within = np.zeros((HIDDEN, HIDDEN))
    for index in range(CLASSES):
        within += np.cov(points[labels == index].T, bias=True) / CLASSES
    between = np.cov(means.T, bias=True)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / CLASSES
    assert measure_collapse(points, labels, head)["nc1"] == pytest.approx(expected)


def test_class_means_equal_slow_references() -> None:
    points, labels, head = _scattered(2)
    means = [points[labels == index].mean(axis=0) for index in range(CLASSES)]
    centre = sum(means) / CLASSES
    arms = [mean - centre for mean in means]
    lengths = [float(np.sqrt(arm @ arm)) for arm in arms]
    gaps = [
        abs(arms[i] @ arms[j] / (lengths[i] * lengths[j]) + 1 / (CLASSES - 1))
        for i in range(CLASSES)
        for j in range(i)
    ]
    middle = sum(lengths) / CLASSES
    spread = (sum((length - middle) ** 2 for length in lengths) / CLASSES) ** 0.5
    agreed = [
        int(np.argmin([np.linalg.norm(point - mean) for mean in means]))
        == int((head @ point).argmax())
        for point in points
    ]
    result = measure_collapse(points, labels, head)
    assert result["nc2_norms"] == pytest.approx(spread / middle)
    assert result["nc2_angles"] == pytest.approx(sum(gaps) / len(gaps))
    assert result["nc4"] == pytest.approx(np.mean(agreed))


def test_each_departure_moves_its_own_metric() -> None:
    points, labels, head = _collapsed()
    rng = np.random.default_rng(0)
    noisy = measure_collapse(points + 0.3 * rng.normal(size=points.shape), labels, head)
    assert noisy["nc1"] > 1e-3
    stretched = head.copy()
    stretched[0] *= 2
    assert measure_collapse(points, labels, stretched)["nc2_head_norms"] > 0.1
    assert measure_collapse(points, labels, -head)["nc3"] == pytest.approx(4.0)
    assert measure_collapse(points, labels, -head)["nc4"] < 0.5
    other = simplex_etf(CLASSES, HIDDEN, seed=1).numpy()
    turned = measure_collapse(points, labels, other)
    assert turned["nc2_head_angles"] == pytest.approx(0.0, abs=1e-6)
    assert turned["nc3"] > 1.0


def test_a_class_weighs_the_same_however_many_items_it_has() -> None:
    points, labels, head = _scattered(3)
    repeats = np.where(labels == 0, 7, 1)
    copied = measure_collapse(np.repeat(points, repeats, axis=0), np.repeat(labels, repeats), head)
    expected = measure_collapse(points, labels, head)
    del copied["nc4"], expected["nc4"]
    assert copied == pytest.approx(expected)


def test_class_without_items_is_left_out() -> None:
    points, labels, head = _scattered(4)
    kept = labels != 2
    rows = np.delete(head, 2, axis=0)
    expected = measure_collapse(points[kept], labels[kept] - (labels[kept] > 2), rows)
    found = measure_collapse(points[kept], labels[kept], head)
    assert found == pytest.approx(expected)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("labels", "head", "reason"),
    [
        ([0, 1], (3, 5), "do not belong together"),
        ([0, 1, 1], (3, 4), "do not belong together"),
        ([1, 1], (3, 4), "two classes"),
        ([0, 3], (3, 4), r"not in 0\.\.2"),
    ],
)
def test_arrays_that_do_not_match_are_refused(
    labels: list[int], head: tuple[int, int], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        measure_collapse(np.ones((2, 4)), np.array(labels), np.ones(head))
