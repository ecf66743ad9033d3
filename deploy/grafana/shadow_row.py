"""A shadow, where there is one: does the next checkpoint say the same, as surely, as fast?"""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import RATE

_TASK = 'task=~"$task"'
_COMPARED = 'outcome=~"agree|disagree"'


def _mean(histogram: str, of: str) -> str:
    total, count = (
        f'sum(rate({histogram}_{part}{{{_TASK}, of="{of}"}}{RATE}))' for part in ("sum", "count")
    )
    return f"{total} / {count}"


def _quantile(of: str) -> str:
    buckets = f'ncal_shadow_duration_seconds_bucket{{of="{of}"}}'
    return f"histogram_quantile(0.95, sum by (le) (rate({buckets}{RATE})))"


SHADOW = Row(
    title="Shadow",
    is_optional=True,
    panels=(
        Panel(
            title="Agreement with the answers",
            description="Share of the items that both have read where the shadow says the same.",
            unit="percentunit",
            queries=(
                Query(
                    expr=(
                        f'sum by (task) (rate(ncal_shadow_items_total{{{_TASK}, outcome="agree"}}'
                        f"{RATE})) / sum by (task) (rate(ncal_shadow_items_total{{{_TASK}, "
                        f"{_COMPARED}}}{RATE}))"
                    ),
                    legend="{{task}}",
                ),
            ),
        ),
        Panel(
            title="What it takes for what, last day",
            description="Items on which they differ: the label of the answer, the shadow's label.",
            kind="bargauge",
            unit="short",
            queries=(
                Query(
                    expr=(
                        "topk(10, sum by (label, shadow_label) "
                        f"(increase(ncal_shadow_labels_total{{{_TASK}}}[1d])) "
                        "unless on (label, shadow_label) label_replace(sum by (label) "
                        f"(ncal_shadow_labels_total{{{_TASK}}}), "
                        '"shadow_label", "$1", "label", "(.*)"))'
                    ),
                    legend="{{label}} → {{shadow_label}}",
                ),
            ),
        ),
        Panel(
            title="Items by what became of them",
            description="Dropped: the engines had no moment for them.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    expr=(f"sum by (outcome) (rate(ncal_shadow_items_total{{{_TASK}}}{RATE}))"),
                    legend="{{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Confidence",
            description="Mean probability of the label that each says, over the same items.",
            unit="percentunit",
            queries=tuple(
                Query(expr=_mean("ncal_shadow_confidence", of), legend=name)
                for of, name in (("first", "answers"), ("shadow", "shadow"))
            ),
        ),
        Panel(
            title="Difference of confidence",
            description="How far the two are apart, item by item: p50 and p95.",
            unit="percentunit",
            queries=tuple(
                Query(
                    expr=(
                        f"histogram_quantile({share}, sum by (le) "
                        f"(rate(ncal_shadow_confidence_difference_bucket{{{_TASK}}}{RATE})))"
                    ),
                    legend=name,
                )
                for share, name in ((0.5, "p50"), (0.95, "p95"))
            ),
        ),
        Panel(
            title="p95 in the engine, same items",
            description="The shadow computes one at a time, so it is not slowed by a full step.",
            unit="s",
            queries=tuple(
                Query(expr=_quantile(of), legend=name)
                for of, name in (("first", "answers"), ("shadow", "shadow"))
            ),
        ),
    ),
)
