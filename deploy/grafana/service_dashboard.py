"""Is the service well? Rate, errors and duration first; queue, work and engine to find out why."""

from deploy.grafana.annotations import NEW_MODELS, STARTS
from deploy.grafana.bulk_row import BULK
from deploy.grafana.dashboard import Dashboard
from deploy.grafana.engine_rows import EMBEDDED, GPU, VLLM
from deploy.grafana.load_rows import PROCESSES, SATURATION, WORK
from deploy.grafana.overview_row import OVERVIEW
from deploy.grafana.panels import Panel, Query, Row, Variable
from deploy.grafana.promql import ON, PERCENTILES, RATE, mean, quantile

_SINGLE = 'route=~"/classify/(problem|dialogue-turn|tasks/[^/]+)"'

_RATES = Row(
    title="Rate and errors",
    panels=(
        Panel(
            title="Requests by endpoint",
            description="HTTP requests per second; a batch or a stream is one.",
            unit="reqps",
            queries=(
                Query(
                    expr=f"sum by (route) (rate(ncal_http_requests_total{{{ON}}}{RATE}))",
                    legend="{{route}}",
                ),
            ),
        ),
        Panel(
            title="Requests by status",
            description="5xx is ours, 4xx is the caller's; 503 carries a Retry-After.",
            unit="reqps",
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (status) (rate(ncal_http_requests_total{{{ON}}}{RATE}))",
                    legend="{{status}}",
                ),
            ),
        ),
        Panel(
            title="Items by way in",
            description="Items per second that were answered, well or with an error.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (mode) (rate(ncal_items_total{{{ON}}}{RATE}))",
                    legend="{{mode}}",
                ),
            ),
        ),
        Panel(
            title="Errors by type",
            description="The closed set of service/errors.py, per second.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (type) (rate(ncal_errors_total{{{ON}}}{RATE}))",
                    legend="{{type}}",
                ),
            ),
        ),
        Panel(
            title="Burning of the error budget",
            description="By objective. Pages: above 14.4 for an hour, or above 6 for six hours.",
            unit="short",
            thresholds=((6, "orange"), (14.4, "red")),
            queries=(
                Query(expr="max by (sli) (job_sli:ncal_burn:ratio1h)", legend="{{sli}}, 1 h"),
                Query(expr="max by (sli) (job_sli:ncal_burn:ratio6h)", legend="{{sli}}, 6 h"),
                Query(expr="max by (sli) (job_sli:ncal_burn:ratio3d)", legend="{{sli}}, 3 d"),
            ),
        ),
        Panel(
            title="Failed items of batches, streams and live dialogues",
            description="Items per second that ended otherwise than well, by way in and outcome.",
            unit="short",
            queries=(
                Query(
                    expr=(
                        "sum by (mode, outcome) (rate(ncal_items_total{"
                        f'{ON}, mode!="single", outcome!="ok"}}{RATE}))'
                    ),
                    legend="{{mode}}, {{outcome}}",
                ),
            ),
        ),
    ),
)

_HTTP = "ncal_http_request_duration_seconds"
_STAGE = "ncal_stage_duration_seconds"

_DURATION = Row(
    title="Duration",
    panels=(
        Panel(
            title="Single-item requests",
            description="From the request's first byte to the answer's last.",
            unit="s",
            queries=tuple(
                Query(expr=quantile(share, _HTTP, where=_SINGLE), legend=name)
                for share, name in PERCENTILES
            ),
        ),
        Panel(
            title="p95 of requests, by endpoint",
            description="Batches take as long as their items; streams as long as the client sends.",
            unit="s",
            queries=(Query(expr=quantile(0.95, _HTTP, by="route"), legend="{{route}}"),),
        ),
        Panel(
            title="p95 of items, by stage",
            description="Where an item's time goes. Long queue, short inference: add replicas.",
            unit="s",
            queries=(Query(expr=quantile(0.95, _STAGE, by="stage"), legend="{{stage}}"),),
        ),
        Panel(
            title="Mean of items, by stage",
            description="The same as means, which add up to the whole.",
            unit="s",
            stacked=True,
            queries=(Query(expr=mean(_STAGE, by="stage"), legend="{{stage}}"),),
        ),
        Panel(
            title="Single-item requests, all",
            description="Requests by bucket of duration: shows two humps where a mean shows none.",
            kind="heatmap",
            unit="s",
            queries=(
                Query(
                    expr=f"sum by (le) (increase({_HTTP}_bucket{{{ON}, {_SINGLE}}}{RATE}))",
                    legend="{{le}}",
                ),
            ),
        ),
        Panel(
            title="Canary",
            description="How long the test inference behind readiness takes.",
            unit="s",
            queries=tuple(
                Query(expr=quantile(share, "ncal_canary_duration_seconds"), legend=name)
                for share, name in PERCENTILES
            ),
        ),
        Panel(
            title="Failed canaries",
            description="Per second. Above 0 a replica takes no traffic.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (instance) (rate(ncal_canary_failures_total{{{ON}}}{RATE}))",
                    legend="{{instance}}",
                ),
            ),
        ),
    ),
)

SERVICE = Dashboard(
    uid="ncal-service",
    title="NCAL Serve: service",
    description="Rate, errors, duration, queue and engine of the classification service.",
    variables=(Variable(name="instance", title="Replica", metric="ncal_build_info"),),
    rows=(OVERVIEW, _RATES, _DURATION, SATURATION, WORK, PROCESSES, EMBEDDED, VLLM, GPU, BULK),
    annotations=(STARTS, NEW_MODELS),
)
