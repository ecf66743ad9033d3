"""The class mix that probabilities answer for: asked for, or estimated from many items.

Heads answer for a uniform prior. By Bayes' rule the probabilities p of an item answer for a mix π
as p·π, normalised. Where many items come together their own answers tell the mix
(`contract.estimation`). Probabilities are calibrated ones for the uniform prior, in label order.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

PriorKind = Literal["uniform", "training", "given", "estimated"]
"""`given`: shares that the caller stated."""
UNIFORM, TRAINING, ESTIMATE = "uniform", "training", "estimate"
_TOLERANCE = 0.01
"""How far given shares may be from a sum of 1: people round."""


class Mix(NamedTuple):
    """A class mix, and how it came about."""

    kind: PriorKind
    shares: tuple[float, ...]
    """In label order; they sum to 1."""
    intervals: tuple[tuple[float, float], ...] | None = None
    """95%, of an estimate."""
    items: int | None = None
    """How many items it was estimated from."""


class Decision(NamedTuple):
    """The answer to one item, for a class mix."""

    best: int
    """Index of the most probable label."""
    probabilities: list[float]
    needs_review: bool


class PriorError(ValueError):
    """A prior that was asked for and cannot be; the message says what it must be."""


def parse_prior(text: str) -> str | dict[str, float]:
    """Read `uniform`, `training`, `estimate`, or shares by label: `recall:0.5,identify:0.1,…`.

    Raises PriorError for anything else. Which labels there are is for `resolve_prior`.
    """
    if text in (UNIFORM, TRAINING, ESTIMATE):
        return text
    shares: dict[str, float] = {}
    for part in text.split(","):
        label, _, number = part.strip().rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not label or label in shares or not 0.0 < share <= 1.0:
            raise PriorError(
                "must be uniform, training, estimate, or a share above 0 for each label once, as "
                "in recall:0.6,identify:0.4"
            )
        shares[label] = share
    return shares


def resolve_prior(labels: Sequence[str], training: Sequence[float], text: str) -> Mix | None:
    """The mix that a caller asks of a task for; None for `estimate`, which needs the answers.

    `labels` and the shares of its `training` data are the task's. Given shares must name every
    label, and sum to 1 within 0.01; they are normalised. Raises PriorError.
    """
    asked = parse_prior(text)
    if asked == ESTIMATE:
        return None
    if asked == TRAINING:
        return Mix("training", normalize_shares(training))
    if isinstance(asked, str):
        return Mix("uniform", (1.0 / len(labels),) * len(labels))
    return Mix("given", _order_shares(labels, asked))


def shift_prior(probabilities: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Probabilities of one item for traffic of the mix `shares`."""
    weights = [value * share for value, share in zip(probabilities, shares, strict=True)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def needs_review(prediction_set: Sequence[int], answer: int) -> bool:
    """Whether a person should look: unless the prediction set holds the answer and nothing else.

    The set excludes labels whatever the class mix is, and `answer` is the most probable label
    under the mix that was asked for. So an answer that only its prior speaks for is reviewed,
    and what is not reviewed stays right also where the prior is wrong.
    """
    return list(prediction_set) != [answer]


def decide(probabilities: Sequence[float], prediction_set: Sequence[int], mix: Mix) -> Decision:
    """The answer for traffic of the mix, from an item's uniform probabilities and its set."""
    shifted = list(probabilities)
    if mix.kind != "uniform":
        shifted = shift_prior(shifted, mix.shares)
    best = max(range(len(shifted)), key=shifted.__getitem__)
    return Decision(best, shifted, needs_review(prediction_set, best))


def describe_mix(mix: Mix, labels: Sequence[str]) -> dict[str, object]:
    """As answers and summaries state it: by label, JSON-ready."""
    intervals = mix.intervals and {
        label: list(interval) for label, interval in zip(labels, mix.intervals, strict=True)
    }
    return {
        "kind": mix.kind,
        "shares": dict(zip(labels, mix.shares, strict=True)),
        "intervals": intervals,
        "items": mix.items,
    }


def _order_shares(labels: Sequence[str], shares: Mapping[str, float]) -> tuple[float, ...]:
    if set(shares) != set(labels):
        raise PriorError(f"must name each label of the task once: {', '.join(labels)}")
    if abs(sum(shares.values()) - 1.0) > _TOLERANCE:
        raise PriorError("must have shares that sum to 1")
    return normalize_shares([shares[label] for label in labels])


def normalize_shares(shares: Sequence[float]) -> tuple[float, ...]:
    total = math.fsum(shares)
    return tuple(share / total for share in shares)
