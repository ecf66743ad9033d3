"""Which items are chosen: close calls, of every class, unlike one another."""

import numpy as np

from labelling.results.selection import (
    find_candidates,
    measure_margins,
    order_candidates,
    spread,
    vectorize_texts,
)


def _make_probabilities(margins: list[float], classes: list[int], width: int = 3) -> np.ndarray:
    """Each item is of its class by this margin, the rest shared evenly."""
    rows = []
    for margin, own in zip(margins, classes, strict=True):
        row = np.full(width, (1.0 - margin) / width)
        row[own] += margin
        rows.append(row)
    return np.array(rows, dtype=np.float32)


def test_vectors_tell_texts_apart_and_equal_ones_not() -> None:
    vectors = vectorize_texts(["三角形的面积", "三角形的面积", "三角形的周长", "5+7=", ""])
    assert np.allclose(np.linalg.norm(vectors[:4], axis=1), 1.0)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.999 > alike[0, 2] > alike[0, 3]


def test_every_class_has_its_turn_and_the_closest_call_is_first() -> None:
    rng = np.random.default_rng(0)
    classes = [0] * 900 + [1] * 90 + [2] * 10
    margins = rng.uniform(0.01, 1.0, 1000).tolist()
    probabilities = _make_probabilities(margins, classes)
    candidates = find_candidates(probabilities, 12)
    assert len(candidates) < 200
    texts = [f"第{place}题{'甲乙丙丁戊己庚辛'[place % 8]}" for place in candidates]
    own = probabilities[candidates]
    order = order_candidates(own, vectorize_texts(texts), 12, seed=0)
    chosen = candidates[order]
    assert len(set(chosen.tolist())) == 12
    assert np.bincount([classes[each] for each in chosen]).tolist() == [4, 4, 4]
    assert sorted(classes[each] for each in chosen[:3]) == [0, 1, 2]
    for index in range(3):
        first = next(each for each in chosen if classes[each] == index)
        assert margins[first] == min(m for m, c in zip(margins, classes, strict=True) if c == index)
    assert max(measure_margins(probabilities)[chosen][:4]) < 0.6


def test_what_a_rare_class_lacks_goes_to_the_closest_of_all() -> None:
    probabilities = _make_probabilities([0.1 + n / 100 for n in range(40)], [0] * 38 + [1, 2])
    candidates = find_candidates(probabilities, 12)
    texts = [f"text number {place} {'abcdefgh'[place % 8] * 3}" for place in candidates]
    order = order_candidates(probabilities[candidates], vectorize_texts(texts), 12, seed=0)
    chosen = set(candidates[order].tolist())
    assert len(chosen) == 12 and {38, 39} <= chosen


def test_no_text_is_chosen_twice() -> None:
    texts = ["一样的题目"] * 30 + [f"第{place}道不同的题" for place in range(5)]
    probabilities = _make_probabilities([0.1] * 35, [0] * 35)
    order = order_candidates(probabilities, vectorize_texts(texts), 10, seed=0)
    assert sorted(order) == [0, 30, 31, 32, 33, 34]


def test_the_next_is_far_from_those_before() -> None:
    texts = ["苹果还剩几个"] * 40 + ["苹果还剩多少个"] * 40 + ["solve for x"]
    vectors = vectorize_texts(texts)
    far = [
        80 in spread(vectors, 2, np.random.default_rng(seed))
        or len(spread(vectors, 3, np.random.default_rng(seed))) == 3
        for seed in range(5)
    ]
    assert all(far)
    assert spread(vectors, 5, np.random.default_rng(0))[0] == 0
    assert len(spread(vectors, 5, np.random.default_rng(0))) == 3  # as many as there are texts
