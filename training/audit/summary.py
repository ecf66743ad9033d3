"""What an audit found, for a person to read."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from training.audit.findings import Finding, find_doubted
from training.audit.judgement import Judgement
from training.audit.rows import Rows
from training.audit.twins import LIKENESSES
from training.reporting.markdown_tables import align_table, write_table
from training.statistics.label_errors import count_joint, estimate_shares, find_confident
from training.statistics.metrics import wilson_interval

_CONFUSIONS = 8


def describe_audit(rows: Rows, judgement: Judgement, findings: Sequence[Finding]) -> str:
    """Shares of labels in doubt by class, the classes most mixed up, rows alike that disagree."""
    count = len(rows.examples)
    doubted = find_doubted(rows.labels, judgement)
    lines = [
        f"{rows.task}: {count:,} rows, {len(rows.names)} labels; {judgement.caution}",
        "",
        *_tabulate_classes(rows, judgement, doubted),
        _tabulate_confusions(rows, judgement),
    ]
    alike = Counter(each.twin.likeness for each in findings if each.twin)
    for likeness, number in sorted(alike.items()):
        lines.append(f"{number:,} rows whose label rows with {LIKENESSES[likeness]} do not share")
    if unjudged := count - len(judgement.judged):
        lines.append(f"{unjudged:,} rows could not be judged: {judgement.unjudged}")
    return "\n".join(lines)


def _tabulate_classes(
    rows: Rows, judgement: Judgement, doubted: Mapping[int, int]
) -> tuple[str, str]:
    """By given label and of all: rows, those that the model calls otherwise, and the estimate of
    wrong labels; and what to do with it."""
    judged, labels = judgement.judged, rows.labels
    shares = estimate_shares(judgement.probabilities[judged], labels[judged], rows.groups[judged])
    given = Counter(labels.tolist())
    counts = Counter(int(labels[place]) for place in doubted)
    table = [
        [
            name,
            f"{given[index]:,}",
            f"{counts[index]:,}",
            _spell_share(shares.by_class[index], *shares.intervals[index])
            if shares.told[index]
            else "cannot be told",
        ]
        for index, name in enumerate(rows.names)
    ]
    told = [place for place, each in enumerate(shares.told) if each]
    total = _spell_share(shares.total, *shares.interval)
    table.append(["all", f"{len(labels):,}", f"{len(doubted):,}", total])
    header = ["given label", "rows", "called otherwise", "estimate of wrong labels [95%]"]
    wrong = round(shares.total * sum(given[place] for place in told))
    advice = (
        f"By the estimate some {wrong:,} labels are wrong, or fewer: where the model is "
        "confidently wrong, right labels are counted too. Look at so many rows from the first on, "
        "and further as long as you find wrong ones."
    )
    if len(told) < len(rows.names):
        advice += (
            " Labels most of whose rows the model calls otherwise are left out: the model does not "
            "know them."
        )
    return align_table(write_table(header, table)), advice + "\n"


def _tabulate_confusions(rows: Rows, judgement: Judgement) -> str:
    """The pairs of given and confident label that stand for most rows."""
    labels, classes = rows.labels[judgement.judged], len(rows.names)
    confident = find_confident(judgement.probabilities[judgement.judged], labels)
    joint = count_joint(confident, labels, classes).astype(np.int64)
    given = np.bincount(labels, minlength=classes)
    pairs = [(one, other) for one in range(classes) for other in range(classes) if one != other]
    pairs.sort(key=lambda pair: -joint[pair])
    table = []
    for one, other in pairs[:_CONFUSIONS]:
        if count := int(joint[one, other]):
            low, high = wilson_interval(count, int(given[one]))
            share = _spell_share(count / given[one], low, high)
            table.append([rows.names[one], rows.names[other], f"{count:,}", share])
    header = ["given label", "suggested label", "rows", "of those given it [95%]"]
    return align_table(write_table(header, table))


def _spell_share(share: float, low: float, high: float) -> str:
    return f"{share:.1%} [{low:.1%}, {high:.1%}]"
