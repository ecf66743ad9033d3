"""Rows of the service dashboard that tell why: queue, size of the work, processes."""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import ON, RATE, mean

SATURATION = Row(
    title="Queue and saturation",
    panels=(
        Panel(
            title="Items",
            description="Waiting for the engine, and in it.",
            unit="short",
            queries=(
                Query(expr=f"sum(ncal_queue_items{{{ON}}})", legend="waiting"),
                Query(expr=f"sum(ncal_running_items{{{ON}}})", legend="running"),
            ),
        ),
        Panel(
            title="Tokens waiting",
            description="The queue is bounded by items and by tokens, whichever is full first.",
            unit="short",
            queries=(
                Query(expr=f"sum by (instance) (ncal_queue_tokens{{{ON}}})", legend="{{instance}}"),
            ),
        ),
        Panel(
            title="Use of the engine",
            description="Share of the time in which it has work; an autoscaler keeps it at 65%.",
            unit="percentunit",
            queries=(
                Query(
                    expr=f"max by (instance) (ncal_engine_utilization{{{ON}}})",
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Oldest waiting",
            description="Streams wait by design when live turns pass them; minutes are too long.",
            unit="s",
            thresholds=((10, "red"),),
            queries=(
                Query(
                    expr=f"max by (instance) (ncal_queue_oldest_seconds{{{ON}}})",
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Refusals",
            description="Work turned away per second; `overloaded` is for want of room.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (reason) (rate(ncal_refusals_total{{{ON}}}{RATE}))",
                    legend="{{reason}}",
                ),
            ),
        ),
        Panel(
            title="Cancelled items",
            description="Work given up per second because the client left or its deadline passed.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum(rate(ncal_cancelled_items_total{{{ON}}}{RATE}))", legend="cancelled"
                ),
            ),
        ),
        Panel(
            title="Open streams and live dialogues",
            description="Connections that last. Each replica has a limit for both.",
            unit="short",
            queries=(
                Query(expr=f"sum(ncal_open_streams{{{ON}}})", legend="streams"),
                Query(expr=f"sum(ncal_live_sessions{{{ON}}})", legend="live dialogues"),
            ),
        ),
    ),
)

WORK = Row(
    title="Size of the work",
    panels=(
        Panel(
            title="Items per request",
            description="Mean number of items in a request, by way in.",
            unit="short",
            queries=(Query(expr=mean("ncal_request_items", by="mode"), legend="{{mode}}"),),
        ),
        Panel(
            title="Prompt tokens",
            description="Tokens put before the model per second: what engine time is spent on.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (task) (rate(ncal_prompt_tokens_total{{{ON}}}{RATE}))",
                    legend="{{task}}",
                ),
            ),
        ),
    ),
)

PROCESSES = Row(
    title="Replicas",
    columns=4,
    panels=(
        Panel(
            title="Replicas that answer Prometheus",
            description="1 while a replica can be scraped, 0 while it is known and cannot.",
            unit="short",
            queries=(
                Query(
                    expr=f'max by (instance) (up{{job="ncal-serve", {ON}}})',
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Memory of the service's process",
            description=(
                "With the embedded engine all there is; vLLM is a process of its own and not in "
                "it. It should be flat."
            ),
            unit="bytes",
            queries=(
                Query(
                    expr=(
                        "sum by (instance) "
                        f'(process_resident_memory_bytes{{job="ncal-serve", {ON}}})'
                    ),
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Cores in use by the service's process",
            description="With the embedded engine at most its threads and a little for HTTP.",
            unit="short",
            queries=(
                Query(
                    expr=(
                        "sum by (instance) "
                        f'(rate(process_cpu_seconds_total{{job="ncal-serve", {ON}}}{RATE}))'
                    ),
                    legend="{{instance}}",
                ),
            ),
        ),
        Panel(
            title="Version",
            description="Releases of the service in force; two while a rollout is under way.",
            kind="table",
            unit="short",
            queries=(Query(expr=f"count by (version) (ncal_build_info{{{ON}}})"),),
        ),
    ),
)
