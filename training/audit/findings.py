"""The rows to look at, in the order in which to look at them."""

from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np

from training.audit.judgement import Judgement
from training.audit.rows import Rows
from training.audit.twins import LIKENESSES, Twin, find_twins
from training.data.examples import Example
from training.statistics.label_errors import rank_doubts
from training.statistics.probabilities import Ints

_SHOWN = 3  # rows alike that are named


class Finding(NamedTuple):
    """A row whose label somebody should look at."""

    place: int
    """Among the examples."""
    suggested: int
    """Index of a label."""
    sure: float
    """How far the model prefers the suggestion to the label that was given, 0 to 1."""
    why: str
    twin: Twin | None = None
    """Rows alike that speak against it."""


def list_findings(rows: Rows, labels: Ints, judgement: Judgement) -> list[Finding]:
    """Rows in doubt, those first whose label is most likely wrong.

    First come rows of which the very same text has another label, for one of the two is wrong
    whatever a model says; then rows that the model or rows alike speak against; last, those that
    could not be judged. Within each part the order is that of the model's preference.
    """
    twins = find_twins(
        [each._replace(label=label) for each, label in zip(rows.examples, labels, strict=True)]
    )
    doubted = find_doubted(labels, judgement)
    unjudged = set(range(len(labels))) - set(judgement.judged.tolist())
    findings = []
    for place in sorted({*twins, *doubted, *unjudged}):
        twin, own = twins.get(place), int(labels[place])
        suggested = _suggest(place, twin, doubted.get(place), judgement, own)
        reasons = []
        if twin is not None:
            reasons.append(_describe_twin(twin, rows.examples, rows.names[twin.suggested]))
        if place in doubted:
            reasons.append(_describe_doubt(judgement, place, rows.names, own, suggested))
        if place in unjudged:
            reasons.append(judgement.unjudged)
        sure = 0.0 if place in unjudged else _prefer(judgement, place, own, suggested)
        findings.append(Finding(place, suggested, sure, "; ".join(reasons), twin))
    findings.sort(key=lambda each: (_find_part(each, unjudged), -each.sure, each.place))
    return findings


def find_doubted(labels: Ints, judgement: Judgement) -> dict[int, int]:
    """Place → the label that the model holds for the likeliest, where that is not the given one.

    More than confident learning counts: of right labels a half, and of wrong ones too, lies below
    the mean that is its threshold. How far down the list wrong labels reach, its estimate tells.
    """
    judged = judgement.judged
    likeliest = judgement.probabilities[judged].argmax(axis=1)
    other = np.flatnonzero(likeliest != labels[judged])
    return {int(judged[i]): int(likeliest[i]) for i in other}


def _find_part(finding: Finding, unjudged: Set[int]) -> int:
    if finding.twin is not None:
        return 0 if finding.twin.likeness == 0 else 1
    return 2 if finding.place in unjudged else 1


def _suggest(
    place: int, twin: Twin | None, doubted: int | None, judgement: Judgement, own: int
) -> int:
    """Of the very same text its other label; else what the model says, or rows alike say."""
    if twin is not None and (twin.likeness == 0 or doubted is None):
        return twin.suggested
    if doubted is not None:
        return doubted
    others = judgement.probabilities[place].copy()
    others[own] = -1.0
    return int(others.argmax())


def _prefer(judgement: Judgement, place: int, own: int, suggested: int) -> float:
    sure = rank_doubts(judgement.probabilities[[place]], np.array([own]), np.array([suggested]))
    return float(sure[0])


def _describe_twin(twin: Twin, examples: Sequence[Example], name: str) -> str:
    others = [examples[place] for place in twin.others if examples[place].label == twin.suggested]
    lines = ", ".join(str(each.line or each.id) for each in others[:_SHOWN])
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return f"{LIKENESSES[twin.likeness]} is {name} in row {lines}{more}"


def _describe_doubt(
    judgement: Judgement, place: int, names: Sequence[str], own: int, suggested: int
) -> str:
    shares = judgement.probabilities[place]
    return (
        f"{judgement.source}: {names[suggested]} {shares[suggested]:.2f}, "
        f"{names[own]} {shares[own]:.2f}"
    )
