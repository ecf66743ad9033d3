"""What choosing the items to label gains over labelling at random.

`python -m benchmarks.label_choice [--task timss] [--seeds 5]`: a learner (n-grams) begins with
labels of items drawn at random, and is then given more, a batch at a time: those that `ncal label
--rank` would name (`labelling.results.selection`, the very code), those at random, or those that
parts of the selection would name. Each time it is measured on a fold of groups that it never
sees. All ways share seeds, first labels and folds, so they are compared in pairs. The n-grams'
vocabulary is that of the whole pool: its texts are at hand, its labels are not.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_matrix

from contract.labels import BUILT_IN
from labelling.results.selection import (
    find_candidates,
    measure_margins,
    order_candidates,
    spread,
    vectorize_texts,
)
from training.data.examples import Example, read_examples
from training.data.groups import group_examples
from training.evaluation.folds import split_folds
from training.models.ngrams import PriorFreeRegression, vectorize_items
from training.recipe.recipe import LabelledFile
from training.reporting.markdown_tables import write_table
from training.statistics.confusion import count_confusion, summarize_confusion
from training.statistics.probabilities import Floats, Ints, take_softmax

DATA = Path("../shared/data/ncal")
FILES = {
    "timss": LabelledFile(path=DATA / "TMWPL_train.jsonl", format="tmwpl", task="timss"),
    "irf": LabelledFile(path=DATA / "PMTD_train.jsonl", format="pmtd", task="irf"),
}
FOLDS = 5
_LEAST_SHARE = 1e-4
Vectors = NDArray[np.float32]
Choose = Callable[[Floats, Vectors, int, int], Sequence[int]]
"""Probabilities (items, K) and vectors of the pool, how many, seed → places in the pool."""


class Pool(NamedTuple):
    """Items of a task: what a learner reads, what the selection reads, and what is true."""

    matrix: csr_matrix
    vectors: Vectors
    labels: Ints
    folds: Ints
    classes: int


def choose_ranked(probabilities: Floats, vectors: Vectors, wanted: int, seed: int) -> Sequence[int]:
    """What `ncal label --rank` does."""
    own = probabilities.astype(np.float32)
    candidates = find_candidates(own, wanted)
    order = order_candidates(own[candidates], vectors[candidates], wanted, seed=seed)
    return [int(candidates[place]) for place in order]


def choose_random(probabilities: Floats, vectors: Vectors, wanted: int, seed: int) -> Sequence[int]:
    rng = np.random.default_rng(seed)
    return [int(each) for each in rng.permutation(len(probabilities))[:wanted]]


def choose_closest(
    probabilities: Floats, vectors: Vectors, wanted: int, seed: int
) -> Sequence[int]:
    """The closest calls, whatever their classes and texts."""
    order = np.argsort(measure_margins(probabilities.astype(np.float32)), kind="stable")
    return [int(each) for each in order[:wanted]]


def choose_varied(probabilities: Floats, vectors: Vectors, wanted: int, seed: int) -> Sequence[int]:
    """Of the close calls, whatever their classes, those that differ."""
    close = np.argsort(measure_margins(probabilities.astype(np.float32)), kind="stable")
    close = close[: 5 * wanted]
    rng = np.random.default_rng(seed)
    return [int(close[each]) for each in spread(vectors[close], wanted, rng)]


def choose_by_class(
    probabilities: Floats, vectors: Vectors, wanted: int, seed: int
) -> Sequence[int]:
    """The closest calls of each class, however alike."""
    margins, predicted = measure_margins(probabilities.astype(np.float32)), probabilities.argmax(1)
    order = np.argsort(margins, kind="stable")
    turns = np.empty(len(order))
    for index in range(probabilities.shape[1]):
        own = predicted[order] == index
        turns[own] = np.arange(own.sum())
    return [int(each) for each in order[np.argsort(turns, kind="stable")][:wanted]]


WAYS: dict[str, Choose] = {
    "at random": choose_random,
    "ranked": choose_ranked,
    "closest": choose_closest,
    "closest, varied": choose_varied,
    "closest of each class": choose_by_class,
}


def main() -> int:
    options = _read_arguments()
    results: dict[str, dict[str, list[list[float]]]] = {}
    for task in options.task or list(FILES):
        pool = _read_pool(task)
        curves: dict[str, list[list[float]]] = {way: [] for way in options.ways}
        for seed in range(options.seeds):
            for way in options.ways:
                curve = simulate(pool, WAYS[way], seed, options.sizes)
                curves[way].append(curve)
                print(task, seed, way, " ".join(f"{each:.3f}" for each in curve), flush=True)
        results[task] = curves
        print(f"\n{task}\n\n{tabulate(curves, options.sizes)}", flush=True)
    if options.output:
        options.output.write_text(json.dumps({"sizes": options.sizes, "curves": results}) + "\n")
    return 0


def simulate(pool: Pool, choose: Choose, seed: int, sizes: Sequence[int]) -> list[float]:
    """Macro recall on the held-out fold when so many items have a label."""
    rng = np.random.default_rng(seed)
    test = np.flatnonzero(pool.folds == seed % FOLDS)
    unlabelled = rng.permutation(np.flatnonzero(pool.folds != seed % FOLDS))
    known, unlabelled = unlabelled[: sizes[0]], unlabelled[sizes[0] :]
    curve = []
    for place, size in enumerate(sizes):
        learner = Learner(pool, known, unlabelled)
        answers = learner.answer(test).argmax(axis=1)
        confusion = count_confusion(pool.labels[test], answers, pool.classes)
        curve.append(summarize_confusion(confusion)["macro_recall"])
        if place + 1 < len(sizes):
            probabilities = take_softmax(learner.answer(unlabelled))
            wanted = sizes[place + 1] - size
            chosen = choose(probabilities, pool.vectors[unlabelled], wanted, seed)
            known = np.concatenate([known, unlabelled[chosen]])
            unlabelled = np.delete(unlabelled, chosen)
    return curve


class Learner:
    """Logistic regression whose answers under the uniform prior are corrected by the pool's mix.

    What was chosen by its text has another class mix than the pool, and its counts are no prior
    to subtract; given the text, though, classes are as likely as ever. So the mix is that of the
    labels and of the learner's own answers for the rest of the pool.
    """

    def __init__(self, pool: Pool, known: Ints, unlabelled: Ints) -> None:
        rows = pool.matrix[known]
        self._matrix, self._columns = pool.matrix, np.unique(rows.indices)  # others' weights: 0
        labels = pool.labels[known]
        self._model = PriorFreeRegression(rows[:, self._columns], labels, pool.classes)
        expected = take_softmax(self._answer_as_labelled(unlabelled)).sum(axis=0)
        expected += np.bincount(labels, minlength=pool.classes)
        self._log_mix = np.log(np.maximum(expected / expected.sum(), _LEAST_SHARE))

    def answer(self, places: Ints) -> Floats:
        """Logits (items, classes) under the uniform prior."""
        logits: Floats = self._answer_as_labelled(places) - self._log_mix
        return logits

    def _answer_as_labelled(self, places: Ints) -> Floats:
        rows = self._matrix[places][:, self._columns]
        return self._model.predict_logits(rows) + self._model.log_prior


def tabulate(curves: dict[str, list[list[float]]], sizes: Sequence[int]) -> str:
    """Means over the seeds, and what each way gains over random with 95% t intervals of the paired
    differences."""
    header = ["way", *(f"{size:,} labels" for size in sizes), "mean gain over random [95%]"]
    base = np.array(curves["at random"])
    rows = []
    for way, each in curves.items():
        figures = np.array(each)
        gains = (figures - base)[:, 1:].mean(axis=1)
        low, high = _find_interval(gains)
        gain = "–" if way == "at random" else f"{gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append([way, *(f"{value:.3f}" for value in figures.mean(axis=0)), gain])
    return write_table(header, rows)


def _find_interval(values: Floats) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    spread = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - spread), float(values.mean() + spread)


def _read_pool(task: str) -> Pool:
    examples: list[Example] = read_examples([FILES[task]], BUILT_IN, folds=FOLDS)
    items = [example.item for example in examples]
    return Pool(
        vectorize_items(items),
        vectorize_texts([item.text for item in items]),
        np.array([example.label for example in examples]),
        split_folds(examples, FOLDS, 0, group_examples(examples)),
        len(BUILT_IN[task].labels),
    )


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_choice", description=__doc__)
    parser.add_argument("--task", action="append", choices=list(FILES), help="one (all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many; each holds out a fold (5)")
    parser.add_argument(
        "--sizes",
        type=_read_sizes,
        default=[100, 200, 300, 500, 800, 1200],
        metavar="N,N,…",
        help="how many labels there are when it is measured",
    )
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the curves as JSON")
    return parser.parse_args()


def _read_sizes(spelled: str) -> list[int]:
    return [int(each) for each in spelled.split(",")]


if __name__ == "__main__":
    raise SystemExit(main())
