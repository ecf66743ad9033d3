"""Rows of the service dashboard that tell why: queue, size of the work, engine."""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import ON, RATE, mean, quantile

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
            title="Memory of the HTTP process",
            description="Without the engine, which is a process of its own. It should be flat.",
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
        Panel(
            title="Tokens per engine step",
            description="How full the engine's batches are: the mean, and 95 %.",
            unit="short",
            queries=(
                Query(
                    expr=mean("vllm:iteration_tokens_total", by="model_name"),
                    legend="{{model_name}}, mean",
                ),
                Query(
                    expr=quantile(0.95, "vllm:iteration_tokens_total", by="model_name"),
                    legend="{{model_name}}, 95 %",
                ),
            ),
        ),
    ),
)

VLLM = Row(
    title="vLLM",
    panels=(
        Panel(
            title="Scheduler",
            description="Items in vLLM's own queue. Waiting should be near 0: the service queues.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (model_name) (vllm:num_requests_running{{{ON}}})",
                    legend="{{model_name}}, running",
                ),
                Query(
                    expr=f"sum by (model_name) (vllm:num_requests_waiting{{{ON}}})",
                    legend="{{model_name}}, waiting",
                ),
            ),
        ),
        Panel(
            title="KV cache in use",
            description="Full means that items wait for memory: give the engine more of it.",
            unit="percentunit",
            thresholds=((0.95, "red"),),
            queries=(
                Query(
                    expr=f"max by (instance, model_name) (vllm:kv_cache_usage_perc{{{ON}}})",
                    legend="{{model_name}} {{instance}}",
                ),
            ),
        ),
        Panel(
            title="Prefix cache hits",
            description="Share of prompt tokens not computed again: an earlier prompt began alike.",
            unit="percentunit",
            queries=(
                Query(
                    expr=(
                        f"sum by (model_name) (rate(vllm:prefix_cache_hits_total{{{ON}}}{RATE}))"
                        " / sum by (model_name) "
                        f"(rate(vllm:prefix_cache_queries_total{{{ON}}}{RATE}))"
                    ),
                    legend="{{model_name}}",
                ),
            ),
        ),
        Panel(
            title="Time in the engine",
            description="Half and 99 % of items, from vLLM's intake to its output.",
            unit="s",
            queries=tuple(
                Query(
                    expr=quantile(share, "vllm:e2e_request_latency_seconds", by="model_name"),
                    legend="{{model_name}}, " + legend,
                )
                for share, legend in ((0.5, "half"), (0.99, "99 %"))
            ),
        ),
        Panel(
            title="Waiting and prefill, 95 %",
            description="vLLM's own division of the time in the engine.",
            unit="s",
            queries=(
                Query(
                    expr=quantile(0.95, "vllm:request_queue_time_seconds", by="model_name"),
                    legend="{{model_name}}, waiting",
                ),
                Query(
                    expr=quantile(0.95, "vllm:request_prefill_time_seconds", by="model_name"),
                    legend="{{model_name}}, prefill",
                ),
            ),
        ),
        Panel(
            title="Tokens and items",
            description="What vLLM counts itself; compare with the service's own counts above.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (model_name) (rate(vllm:prompt_tokens_total{{{ON}}}{RATE}))",
                    legend="{{model_name}}, tokens per second",
                ),
                Query(
                    expr="sum by (model_name, finished_reason) "
                    f"(rate(vllm:request_success_total{{{ON}}}{RATE}))",
                    legend="{{model_name}}, {{finished_reason}} per second",
                ),
            ),
        ),
    ),
)
