"""How a checkpoint answers the behavioural tests: `python -m training behaviour`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contract.inputs import AnyInput
from contract.manifest import Task
from training.checkpoints.read_checkpoint import open_checkpoint, score_modes
from training.data.behaviour import (
    Direction,
    Functionality,
    Invariance,
    change_text,
    list_pairs,
    read_tests,
)
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe
from training.reporting.markdown_tables import write_table
from training.statistics.metrics import wilson_interval
from training.statistics.probabilities import Floats, take_softmax
from training.statistics.scaling import Scaling

PRIORS = ("uniform", "training")
Answer = Callable[[AnyInput], int]
"""Index of the label of an item."""


class Rate(NamedTuple):
    """How many of the tests of one kind pass."""

    test: str
    kind: str
    passed: int
    total: int


def measure_behaviour(
    folder: Path, paths: Sequence[Path] = (), *, failures: bool = False, heading: str = "##"
) -> str:
    """Answer all tests as a server would, live, under both priors; returns Markdown.

    With `failures` each test that fails stands below the tables. `heading` stands before the
    title of each task. Raises BadInput for tests or a checkpoint that a person must mend.
    """
    tests = read_tests(list(paths) or None)
    parts = []
    for task in dict.fromkeys(test.task for test in tests):
        manifest, head = open_checkpoint(folder, task)
        own = [test for test in tests if test.task == task]
        _check_labels(own, head)
        answered = _answer(folder, head, own)
        rates, failed = {}, {}
        for prior in PRIORS:
            rates[prior], failed[prior] = judge(own, head.label_set.ids, answered[prior])
        parts.append(f"{heading} {task}, {manifest.name} ({manifest.fingerprint})\n")
        parts.append(_tabulate(rates))
        if failures:
            for prior in PRIORS:
                lines = "\n".join(f"- {line}" for line in failed[prior])
                parts.append(f"Failed under the {prior} prior:\n\n{lines}\n")
    return "\n".join(parts)


def describe_behaviour(recipe: TrainRecipe, folder: Path) -> str:
    """The tables for the model card of `folder`; empty unless the recipe's card asks for them."""
    if recipe.card is None or not recipe.card.behaviour:
        return ""
    return measure_behaviour(folder, heading="###")


def judge(
    tests: Sequence[Functionality | Invariance | Direction], labels: Sequence[str], answer: Answer
) -> tuple[list[Rate], list[str]]:
    """Pass rates by kind of test, totals last in each, and a line for every test that fails."""
    passed: defaultdict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    failed = []

    def count(test: str, kind: str, good: bool, line: str) -> None:
        passed[test, kind][good] += 1
        passed[test, "all"][good] += 1
        if not good:
            failed.append(f"{test}, {kind}: {line}")

    for each in tests:
        if isinstance(each, Functionality):
            given = labels[answer(each.input)]
            count("functionality", each.label, given == each.label, f"{each.input.text} → {given}")
        elif isinstance(each, Direction):
            given = labels[answer(change_text(each.input, each.changed))]
            count("direction", each.label, given == each.label, f"{each.changed} → {given}")
    for pair in list_pairs(list(tests)):
        one, other = labels[answer(pair.one)], labels[answer(pair.other)]
        line = f"{pair.one.text} → {one}; {pair.other.text} → {other}"
        count("invariance", pair.kind, one == other, line)
    rates = [Rate(test, kind, hits[True], hits.total()) for (test, kind), hits in passed.items()]
    rates.sort(key=lambda rate: (rate.test, rate.kind == "all"))
    return rates, failed


def _answer(
    folder: Path, head: Task, tests: Sequence[Functionality | Invariance | Direction]
) -> dict[str, Answer]:
    """Prior → the label of every item of the tests, each computed once."""
    items: dict[AnyInput, None] = {}
    for test in tests:
        items[test.input] = None
        if isinstance(test, Direction):
            items[change_text(test.input, test.changed)] = None
    for pair in list_pairs(list(tests)):
        items[pair.other] = None
    places = {item: place for place, item in enumerate(items)}
    raw = list(score_modes(folder, head, list(items)).values())[-1]
    logits = Scaling.of(head).apply(raw)

    def choose(prior: Floats | None) -> Answer:
        best = take_softmax(logits, prior).argmax(axis=1)
        return lambda item: int(best[places[item]])

    return {"uniform": choose(None), "training": choose(np.array(head.training_prior))}


def _check_labels(tests: Sequence[Functionality | Invariance | Direction], head: Task) -> None:
    known = set(head.label_set.ids)
    for test in tests:
        if not isinstance(test, Invariance) and test.label not in known:
            raise BadInput(
                f"a behavioural test of {head.label_set.task} has the label {test.label}, which "
                "the checkpoint lacks; give tests of your own with --tests"
            )


def _tabulate(rates: dict[str, list[Rate]]) -> str:
    rows = []
    for uniform, training in zip(rates["uniform"], rates["training"], strict=True):
        cells = []
        for rate in (uniform, training):
            low, high = wilson_interval(rate.passed, rate.total)
            cells.append(f"{rate.passed / rate.total:.3f} [{low:.3f}, {high:.3f}]")
        rows.append([f"{uniform.test}, {uniform.kind}", str(uniform.total), *cells])
    return write_table(["test", "items", "uniform prior", "training prior"], rows)
