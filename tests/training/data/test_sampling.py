"""Subsampling to an imbalance ratio, and the prior of what batches are drawn from."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from contract.inputs import Problem
from contract.labels import IRF, TIMSS
from tests.training.tiny import make_recipe
from training.data.examples import Example
from training.data.sampling import batch_prior, prior_shift, subsample, thin_out


def make_examples(sizes: list[int], task: str = "timss") -> list[Example]:
    examples = [
        Example(f"{label}-{number}", task, Problem(text=f"{label} {number}"), label)
        for label, size in enumerate(sizes)
        for number in range(size)
    ]
    return examples[1::2] + examples[::2]  # classes in no order


def count(examples: list[Example]) -> list[int]:
    counts = Counter(example.label for example in examples)
    return [counts[label] for label in sorted(counts)]


@pytest.mark.parametrize(
    ("sizes", "ratio", "expected"),
    [
        ([1000, 1000, 1000], 0.25, [1000, 500, 250]),
        ([1000, 1000, 1000], 1.0, [1000, 1000, 1000]),
        ([1000, 300, 100], 0.25, [400, 200, 100]),  # the tail sets the size of the head
        ([1000, 120, 100], 0.25, [400, 120, 100]),  # smaller than its place: stays whole
        ([20, 1000, 100], 0.03, [20, 667, 100]),
    ],
)
def test_sizes_follow_the_exponential_profile(
    sizes: list[int], ratio: float, expected: list[int]
) -> None:
    assert count(subsample(make_examples(sizes), ratio, seed=0)) == expected


def test_the_same_seed_keeps_the_same_examples_in_order() -> None:
    examples = make_examples([60, 40, 30])
    first = subsample(examples, 0.2, seed=3)
    assert first == subsample(examples, 0.2, seed=3) != subsample(examples, 0.2, seed=4)
    assert first == [example for example in examples if example in first]
    ids = {example.id for example in subsample(examples, 0.4, seed=3)}
    rare = {example.id for example in first if example.label == 2}
    assert rare <= ids


def test_no_class_is_cut_below_the_least() -> None:
    assert count(subsample(make_examples([60, 40, 30]), 0.03, seed=0, at_least=5)) == [60, 10, 5]
    assert count(subsample(make_examples([60, 40, 3]), 0.5, seed=0, at_least=5)) == [6, 5, 3]


def test_only_the_tasks_with_a_ratio_are_thinned_out(tmp_path: Path) -> None:
    recipe = make_recipe(
        tmp_path,
        sources=[
            {"path": "a", "format": "tmwpl", "task": "timss", "imbalance_ratio": 0.25},
            {"path": "b", "format": "pmtd", "task": "irf"},
        ],
        evaluation={"folds": 3},
    )
    problems, turns = make_examples([8, 8, 8]), make_examples([40, 10], "irf")
    left = thin_out(recipe, [*turns, *problems, problems[0]])
    assert [e for e in left if e.task == "irf"] == turns
    assert count([e for e in left if e.task == "timss"]) == [9, 4, 3]


def test_the_prior_is_that_of_the_batches() -> None:
    examples = make_examples([90, 40, 10, 5, 5, 5, 5]) + make_examples([7] * 8, "irf")
    assert batch_prior(examples, TIMSS, "instance")[:3] == pytest.approx([90 / 160, 0.25, 1 / 16])
    roots = np.sqrt([90, 40, 10, 5, 5, 5, 5])
    assert batch_prior(examples, TIMSS, "square-root") == pytest.approx(list(roots / roots.sum()))
    assert batch_prior(examples, TIMSS, "class-balanced") == pytest.approx([1 / 7] * 7)
    gone = [example for example in examples if (example.task, example.label) != ("irf", 0)]
    assert batch_prior(gone, IRF, "class-balanced") == pytest.approx([0.0] + [1 / 7] * 7)


@pytest.mark.parametrize(
    ("loss", "sampling", "share"),
    [
        ({"name": "cross-entropy"}, "instance", 1.0),
        ({"name": "focal"}, "instance", 1.0),
        ({"name": "logit-adjusted", "tau": 0.75}, "instance", 0.25),
        ({"name": "logit-adjusted"}, "instance", 0.0),
        ({"name": "cosine"}, "instance", 0.0),
        ({"name": "balanced-softmax", "tau": 0.5}, "instance", 0.0),
        ({"name": "cross-entropy"}, "square-root", 0.5),
        ({"name": "cross-entropy"}, "class-balanced", 0.0),
    ],
)
def test_the_shift_is_what_a_loss_leaves_of_the_prior(
    tmp_path: Path, loss: dict[str, str | float], sampling: str, share: float
) -> None:
    recipe = make_recipe(tmp_path, loss=loss, optimisation={"sampling": sampling})
    shift = prior_shift(recipe, make_examples([90, 40, 10, 5, 5, 5, 5]), [TIMSS])
    assert shift.shape == (7,)
    assert shift[0] - shift[3] == pytest.approx(share * np.log(90 / 5), abs=1e-5)
