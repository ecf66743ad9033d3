"""The paired bootstrap on hits whose effects are known."""

import numpy as np
import pytest

from training.statistics.effects import resample_recalls


def _draw(recalls: list[list[float]], seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Hits (settings, seeds, items) with the given recall for each setting and class."""
    labels = np.repeat([0, 1, 2], [400, 100, 50])
    rng = np.random.default_rng(0)
    chances = np.array(recalls)[:, labels][:, None]  # (settings, 1, items)
    return rng.random((len(recalls), seeds, len(labels))) < chances, labels


def test_figures_are_the_plain_means() -> None:
    hits, labels = _draw([[0.9, 0.5, 0.2], [0.8, 0.7, 0.6]])
    macro, few, accuracy = resample_recalls(hits, labels, [[0, 1, 2], [2]])
    expected = [[hits[p][:, labels == k].mean() for k in range(3)] for p in range(2)]
    assert macro.values == pytest.approx(np.mean(expected, axis=1))
    assert few.values == pytest.approx([row[2] for row in expected])
    assert accuracy.values == pytest.approx(hits.mean(axis=(1, 2)))
    assert macro.samples.mean(axis=1) == pytest.approx(macro.values, abs=0.005)


def test_a_true_effect_is_told_and_none_is_not() -> None:
    hits, labels = _draw([[0.8, 0.6, 0.3], [0.8, 0.7, 0.6], [0.8, 0.6, 0.3]])
    macro, _, accuracy = resample_recalls(hits, labels, [[0, 1, 2], [2]])
    gain = macro.compare(1, 0)
    assert gain.direction == 1 and gain.low < 0.4 / 3 < gain.high
    assert macro.compare(0, 1).direction == -1
    assert macro.compare(2, 0).direction == 0 == accuracy.compare(2, 0).direction
    assert macro.compare(1, 1) == (0.0, 0.0, 0.0)


def test_items_of_equal_models_are_paired() -> None:
    """Two settings that differ on a few items differ by a narrow interval, wide as their own is."""
    hits, labels = _draw([[0.7, 0.7, 0.7]])
    other = hits.copy()
    other[:, :, -1] = ~other[:, :, -1]
    macro = resample_recalls(np.concatenate([hits, other]), labels, [[0, 1, 2]])[0]
    own, difference = macro.estimate(0), macro.compare(1, 0)
    assert difference.high - difference.low < 0.3 * (own.high - own.low)


def test_groups_that_err_together_widen_the_interval() -> None:
    """40 groups of 10, each right or wrong as a whole, tell as much as 40 items."""
    labels = np.repeat([0, 1], 200)
    groups = np.repeat(np.arange(40), 10)
    hits = np.repeat(np.random.default_rng(0).random(40) < 0.5, 10)[None, None, :]
    macro = [
        resample_recalls(hits, labels, [[0, 1]], groups=each)[0].estimate(0)
        for each in (None, groups)
    ]
    items, grouped = (estimate.high - estimate.low for estimate in macro)
    assert macro[0].value == macro[1].value
    assert 2.5 < grouped / items < 4.0  # √10 = 3.2


def test_a_class_whose_groups_are_not_drawn_counts_as_it_is() -> None:
    labels = np.array([0] * 20 + [1])
    hits = np.ones((1, 1, 21), dtype=np.bool_)
    macro = resample_recalls(hits, labels, [[0, 1]], groups=np.arange(21))[0]
    assert (macro.samples == pytest.approx(1.0)) and np.isfinite(macro.samples).all()


def test_seeds_that_disagree_widen_the_interval() -> None:
    labels = np.repeat([0, 1], 200)
    rng = np.random.default_rng(0)
    agreeing = np.repeat(rng.random((1, 1, 400)) < 0.5, 4, axis=1)
    disagreeing = rng.random((1, 4, 400)) < np.array([0.1, 0.9, 0.1, 0.9])[None, :, None]
    widths = []
    for hits in (agreeing, disagreeing):
        own = resample_recalls(hits, labels, [[0, 1]])[0].estimate(0)
        widths.append(own.high - own.low)
    assert widths[1] > 3 * widths[0]


def test_what_does_not_belong_together_is_refused() -> None:
    hits, labels = _draw([[0.5, 0.5, 0.5]])
    with pytest.raises(ValueError, match="do not belong together"):
        resample_recalls(hits, labels[:-1], [[0]])
    with pytest.raises(ValueError, match=r"no items of the classes \[3\]"):
        resample_recalls(hits, labels, [[3]])
