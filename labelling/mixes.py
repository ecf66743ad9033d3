"""The class mix that a file's labels are for.

The service is asked for the uniform prior, and the journal keeps that: which mix labels are for is
settled when they are written. An estimate needs one pass over the journal, in flat memory: it
reads all rows, or a sample of `MOST_ITEMS` of more, always the same.
"""

import random
from collections.abc import Iterator

from contract.estimation import MOST_ITEMS, estimate_mix
from contract.priors import Mix, PriorError, decide, resolve_prior
from labelling.client import ServedTask
from labelling.journal import Answer, Journal
from tables.errors import FileError


def check_prior(task: ServedTask, prior: str) -> None:
    """FileError for a prior that the task cannot have."""
    _resolve(task, prior)


def name_mix(task: ServedTask, prior: str) -> Mix:
    """The mix that `--prior` names where there is no file to estimate one from."""
    mix = _resolve(task, prior)
    if mix is None:
        raise FileError("--prior estimate: needs a whole file; try uniform or training")
    return mix


def find_mix(task: ServedTask, prior: str, journal: Journal) -> Mix:
    """The mix that `--prior` names, or that the kept answers tell."""
    mix = _resolve(task, prior)
    if mix is not None:
        return mix
    return estimate_mix(task.training_prior, _sample_rows(journal, list(task.groups)))


def read_settled(journal: Journal, task: ServedTask, mix: Mix) -> Iterator[Answer]:
    """All answers in the order of the rows, with label and probabilities for the mix."""
    for answer in journal.read():
        yield settle(answer, task, mix)


def settle(answer: Answer, task: ServedTask, mix: Mix) -> Answer:
    """An answer with label and probabilities for the mix; an error as it is."""
    if "error" in answer:
        return answer
    labels = list(task.groups)
    uniform = [answer["probabilities"][label] for label in labels]
    chosen = [labels.index(label) for label in answer["prediction_set"]]
    best, probabilities, review = decide(uniform, chosen, mix)
    return answer | {
        "label": labels[best],
        "confidence": probabilities[best],
        "needs_review": review,
        "probabilities": dict(zip(labels, probabilities, strict=True)),
    }


def describe_mix(mix: Mix, task: ServedTask) -> list[str]:
    """Lines for the terminal."""
    if mix.intervals is None:
        return [f"for the class mix: {mix.kind}"]
    shares = ", ".join(
        f"{label} {share:.1%} [{low:.1%}, {high:.1%}]"
        for label, share, (low, high) in zip(task.groups, mix.shares, mix.intervals, strict=True)
    )
    return [f"for the class mix estimated from {mix.items:,} rows, 95% intervals: {shares}"]


def _resolve(task: ServedTask, prior: str) -> Mix | None:
    try:
        return resolve_prior(list(task.groups), task.training_prior, prior)
    except PriorError as error:
        raise FileError(f"--prior {error}") from None


def _sample_rows(journal: Journal, labels: list[str]) -> list[list[float]]:
    """Probabilities of all rows with a label, or of so many of them, each with the same chance."""
    rng = random.Random(0)
    sample: list[list[float]] = []
    kept = (answer["probabilities"] for answer in journal.read() if "error" not in answer)
    rows = ([probabilities[label] for label in labels] for probabilities in kept)
    for place, row in enumerate(rows):
        if len(sample) < MOST_ITEMS:
            sample.append(row)
        elif (chosen := rng.randrange(place + 1)) < MOST_ITEMS:
            sample[chosen] = row
    return sample
