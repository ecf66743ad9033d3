"""The first row of the service dashboard: is anything wrong, in six numbers."""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import ON, RATE

OVERVIEW = Row(
    title="At a glance",
    columns=6,
    panels=(
        Panel(
            title="Engines up",
            description="Engines that compute, over all replicas: one a replica and checkpoint.",
            kind="stat",
            unit="short",
            base_colour="red",
            thresholds=((1, "green"),),
            queries=(Query(expr=f"sum(ncal_engine_up{{{ON}}})"),),
        ),
        Panel(
            title="Down",
            description="Replicas that do not answer Prometheus, and engines that do not compute.",
            kind="stat",
            unit="short",
            thresholds=((1, "red"),),
            queries=(
                Query(
                    expr=f'count(up{{job="ncal-serve", {ON}}} == 0) or vector(0)',
                    legend="replicas",
                ),
                Query(expr=f"count(ncal_engine_up{{{ON}}} == 0) or vector(0)", legend="engines"),
            ),
        ),
        Panel(
            title="Items per second",
            description="Items answered well, whatever way they came in.",
            kind="stat",
            unit="short",
            queries=(Query(expr=f'sum(rate(ncal_items_total{{{ON}, outcome="ok"}}{RATE}))'),),
        ),
        Panel(
            title="Budget burn, 1 h",
            description=(
                "The worst objective of deploy/prometheus/rules/slo.yml: 1 spends the error "
                "budget of 30 days in 30 days, 14.4 pages."
            ),
            kind="stat",
            unit="short",
            thresholds=((1, "orange"), (14.4, "red")),
            no_value="no traffic",
            # Without traffic it is 0/0, which no comparison holds for.
            queries=(Query(expr="max(job_sli:ncal_burn:ratio1h >= 0)"),),
        ),
        Panel(
            title="Within 0.5 s",
            description="Share of single-item requests, last 5 minutes. The objective is 99 %.",
            kind="stat",
            unit="percentunit",
            no_value="no traffic",
            base_colour="red",
            thresholds=((0.95, "orange"), (0.99, "green")),
            queries=(Query(expr='1 - 0.01 * max(job_sli:ncal_burn:ratio5m{sli="latency"} >= 0)'),),
        ),
        Panel(
            title="Oldest waiting",
            description="Age of the item that waits longest for the engine.",
            kind="stat",
            unit="s",
            thresholds=((2, "orange"), (10, "red")),
            queries=(Query(expr=f"max(ncal_queue_oldest_seconds{{{ON}}})"),),
        ),
    ),
)
