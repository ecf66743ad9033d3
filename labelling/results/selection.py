"""Which items should a person label next, so that a model learns most from few labels?

Three things are asked of a selection, each from the literature on active learning:

- **A close call.** The smaller the margin between the two most probable classes, the more a label
  tells (Scheffer et al. 2001; a hard baseline to beat: Bahri et al. 2022).
- **Every class.** As many items from each class that the model takes items for, under the uniform
  prior: on a long tail the closest calls are else those between frequent classes (class-balanced
  selection: Aggarwal et al., WACV 2020; Bengar et al., WACV 2022).
- **Variety.** Among close calls of a class, k-means++ (Arthur and Vassilvitskii 2007): each next
  item is drawn with a chance that grows with its squared distance from those that were chosen, as
  in BADGE (Ash et al., ICLR 2020), here between texts. No text is chosen twice.

What it gains on our data is measured by `benchmarks.label_choice`, which runs this very code; the
page on labelling has the figures, which show no gain over random.
Probabilities are (items, classes) under the uniform prior, vectors (items, features) of length 1.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_PER_PLACE = 5
"""Close calls of a class from which one is chosen: few, or the calls would not be close."""
_FEATURES = 512
_LONGEST_GRAM = 3


def find_candidates(probabilities: Floats, wanted: int) -> Ints:
    """Places of the close calls of each class, among which `order_candidates` chooses.

    Far fewer than there are items, so that only their texts need be held.
    """
    classes = probabilities.shape[1]
    quota = _PER_PLACE * -(-wanted // classes)
    margins, predicted = measure_margins(probabilities), probabilities.argmax(axis=1)
    order = np.argsort(margins, kind="stable")
    chosen = [order[predicted[order] == index][:quota] for index in range(classes)]
    # Where few classes are predicted, the others' share goes to the closest calls of all.
    kept = np.unique(np.concatenate([*chosen, order[: _PER_PLACE * wanted]]))
    return kept.astype(np.int64)


def order_candidates(
    probabilities: Floats, vectors: Floats, wanted: int, *, seed: int
) -> list[int]:
    """Places among the candidates, the item to label first at the head, at most `wanted`.

    The classes take turns, so the head of the list is as balanced as the whole.
    """
    rng = np.random.default_rng(seed)
    margins, predicted = measure_margins(probabilities), probabilities.argmax(axis=1)
    order = np.argsort(margins, kind="stable")
    classes = probabilities.shape[1]
    quota = -(-wanted // classes)
    queues = []
    for index in range(classes):
        close = order[predicted[order] == index][: _PER_PLACE * quota]
        queues.append([int(close[each]) for each in spread(vectors[close], quota, rng)])
    ranked = [queue[turn] for turn in range(quota) for queue in queues if turn < len(queue)]
    taken = set(ranked)
    ranked += [int(each) for each in order if int(each) not in taken]
    return _drop_repeats(ranked, vectors)[:wanted]


def spread(vectors: Floats, wanted: int, rng: np.random.Generator) -> list[int]:
    """k-means++ over vectors of length 1: places, the first that of the first vector."""
    if not len(vectors):
        return []
    chosen = [0]
    distances = 2.0 - 2.0 * (vectors @ vectors[0]).astype(np.float64)
    while len(chosen) < min(wanted, len(vectors)):
        distances = np.where(distances > _SAME, distances, 0.0)
        total = distances.sum()
        if total <= 0.0:
            break
        chosen.append(int(rng.choice(len(vectors), p=distances / total)))
        distances = np.minimum(distances, 2.0 - 2.0 * (vectors @ vectors[chosen[-1]]))
    return chosen


def measure_margins(probabilities: Floats) -> Floats:
    """Probability of the most probable class less that of the next, (items,)."""
    best = np.partition(probabilities, -2, axis=1)
    margins: Floats = best[:, -1] - best[:, -2]
    return margins


def vectorize_texts(texts: Sequence[str]) -> Floats:
    """Character n-grams (1 to 3) hashed into 512 signed counts (Weinberger et al. 2009), whose
    roots are taken; of length 1."""
    vectors = np.zeros((len(texts), _FEATURES), dtype=np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for length in range(1, _LONGEST_GRAM + 1):
            for start in range(len(text) - length + 1):
                code = zlib.crc32(text[start : start + length].encode())
                row[code % _FEATURES] += 1.0 if code & 0x8000_0000 else -1.0
    vectors = np.sign(vectors) * np.sqrt(np.abs(vectors))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


_SAME = 1e-5
"""Squared distance below which two texts are one."""


def _drop_repeats(ranked: Sequence[int], vectors: Floats) -> list[int]:
    """Of items with the same text the first alone."""
    seen: set[bytes] = set()
    kept = []
    for place in ranked:
        key = vectors[place].tobytes()
        if key not in seen:
            seen.add(key)
            kept.append(place)
    return kept
