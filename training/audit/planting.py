"""How well wrong labels are found: some are planted, and looked for.

Two ways to be wrong: `any`, another label at random, as of a slip; `confused`, the label that the
model itself holds for the next likely one, as of a person who mixes up two classes. The labels
that were there before are taken for right, which not all of them are: so precision is too low by
those wrong labels that are found without having been planted.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.sparse import csr_matrix

from training.audit.findings import list_findings
from training.audit.judgement import Judgement, judge_by_ngrams
from training.audit.rows import Rows
from training.reporting.markdown_tables import write_table
from training.statistics.label_errors import estimate_shares
from training.statistics.metrics import wilson_interval
from training.statistics.probabilities import Floats, Ints

Way = Literal["any", "confused"]
WAYS: tuple[Way, ...] = get_args(Way)


class Planted(NamedTuple):
    """What became of one planting."""

    planted: int
    found: int
    """Of them those that are listed at all."""
    first: tuple[int, int]
    """Planted ones among the first rows of the review, as many as were planted; and among twice
    as many."""
    rows: int
    """That are listed."""
    share: float
    """Estimate of wrong labels, of all rows."""


def plant(labels: Ints, probabilities: Floats, share: float, way: Way, seed: int) -> Ints:
    """The labels (n,) with a share of them replaced by wrong ones, drawn from all rows alike.

    `probabilities` (n, K) are out-of-fold ones for the labels as they were.
    """
    rng = np.random.default_rng(seed)
    changed = labels.copy()
    rows = rng.choice(len(labels), size=round(share * len(labels)), replace=False)
    weights = probabilities[rows] if way == "confused" else np.ones_like(probabilities[rows])
    weights[np.arange(len(rows)), labels[rows]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    changed[rows] = [rng.choice(len(each), p=each) for each in weights]
    return changed


def find_planted(
    rows: Rows, matrix: csr_matrix, before: Judgement, share: float, way: Way, seed: int
) -> Planted:
    """Plant, judge the labels anew as if nobody had, and count what is found."""
    labels = plant(rows.labels, before.probabilities, share, way, seed)
    wrong = labels != rows.labels
    judgement = judge_by_ngrams(rows, labels, matrix)
    places = np.array([each.place for each in list_findings(rows, labels, judgement)])
    hits, planted = wrong[places], int(wrong.sum())
    judged = judgement.judged
    shares = estimate_shares(judgement.probabilities[judged], labels[judged], rows.groups[judged])
    return Planted(
        planted,
        int(hits.sum()),
        (int(hits[:planted].sum()), int(hits[: 2 * planted].sum())),
        len(places),
        shares.total,
    )


def measure_planted(
    rows: Rows, matrix: csr_matrix, before: Judgement, share: float, seeds: Sequence[int]
) -> str:
    """A Markdown table of both ways over the seeds; intervals are of the pooled counts."""
    lines = []
    for way in WAYS:
        runs = [find_planted(rows, matrix, before, share, way, seed) for seed in seeds]
        planted = sum(run.planted for run in runs)
        lines.append(
            [
                way,
                f"{planted:,}",
                _spell([run.found / run.rows for run in runs], sum(run.found for run in runs),
                       sum(run.rows for run in runs)),
                _spell([run.found / run.planted for run in runs], sum(run.found for run in runs),
                       planted),
                *(
                    _spell([run.first[at] / run.planted for run in runs],
                           sum(run.first[at] for run in runs), planted)
                    for at in range(2)
                ),
                f"{np.mean([run.share for run in runs]):.1%}",
            ]
        )  # fmt: skip
    header = [
        f"{share:.0%} planted", "labels", "precision of all rows listed", "recall",
        "recall in as many rows as were planted (also their precision)",
        "recall in twice as many", "estimate of wrong labels",
    ]  # fmt: skip
    return write_table(header, lines)


def _spell(shares: Sequence[float], hits: int, total: int) -> str:
    low, high = wilson_interval(hits, total)
    spread = f", seeds {min(shares):.3f} to {max(shares):.3f}" if len(shares) > 1 else ""
    return f"{hits / total:.3f} [{low:.3f}, {high:.3f}]{spread}"
