"""Rows of the service dashboard for what computes: the embedded engine, vLLM, a GPU."""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import ON, PERCENTILES, RATE, mean, quantile

_STEP = "ncal_engine_step_duration_seconds"
_DEVICE = "{{Hostname}} {{gpu}}"

EMBEDDED = Row(
    title="Embedded engine",
    panels=(
        Panel(
            title="Time of a step",
            description="An idle item costs a step; under load also for that under way.",
            unit="s",
            queries=tuple(
                Query(expr=quantile(share, _STEP, by="model"), legend="{{model}}, " + name)
                for share, name in PERCENTILES
            ),
        ),
        Panel(
            title="Engine in use",
            description="Share of the time in which a step is computed: at 1 replicas are wanting.",
            unit="percentunit",
            thresholds=((0.8, "orange"), (0.95, "red")),
            queries=(
                Query(
                    expr=f"max by (instance, model) (rate({_STEP}_sum{{{ON}}}{RATE}))",
                    legend="{{model}} {{instance}}",
                ),
            ),
        ),
        Panel(
            title="Items per step",
            description="How full steps are: few when it is idle, many under load.",
            unit="short",
            queries=(
                Query(expr=mean("ncal_engine_step_items", by="model"), legend="{{model}}, mean"),
                Query(
                    expr=quantile(0.95, "ncal_engine_step_items", by="model"),
                    legend="{{model}}, p95",
                ),
            ),
        ),
        Panel(
            title="Padding",
            description="Share of computed tokens that only fill steps up to their longest item.",
            unit="percentunit",
            queries=(
                Query(
                    expr=(
                        "sum by (model) "
                        f"(rate(ncal_engine_padding_tokens_total{{{ON}}}{RATE})) / (sum by (model) "
                        f"(rate(ncal_engine_padding_tokens_total{{{ON}}}{RATE})) + sum by (model) "
                        f"(rate(ncal_engine_tokens_total{{{ON}}}{RATE})))"
                    ),
                    legend="{{model}}",
                ),
            ),
        ),
    ),
    columns=4,
)

VLLM = Row(
    title="vLLM",
    is_optional=True,
    panels=(
        Panel(
            title="Tokens per engine step",
            description="How full the engine's batches are: the mean, and p95.",
            unit="short",
            queries=(
                Query(
                    expr=mean("vllm:iteration_tokens_total", by="model_name"),
                    legend="{{model_name}}, mean",
                ),
                Query(
                    expr=quantile(0.95, "vllm:iteration_tokens_total", by="model_name"),
                    legend="{{model_name}}, p95",
                ),
            ),
        ),
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
            description="Of items, from vLLM's intake to its output.",
            unit="s",
            queries=tuple(
                Query(
                    expr=quantile(share, "vllm:e2e_request_latency_seconds", by="model_name"),
                    legend="{{model_name}}, " + name,
                )
                for share, name in PERCENTILES
            ),
        ),
        Panel(
            title="p95 of waiting and prefill",
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
            title="Tokens by vLLM's count",
            description="Prompt tokens per second; compare with the service's own above.",
            unit="short",
            queries=(
                Query(
                    expr=f"sum by (model_name) (rate(vllm:prompt_tokens_total{{{ON}}}{RATE}))",
                    legend="{{model_name}}",
                ),
            ),
        ),
        Panel(
            title="Items by vLLM's count",
            description="Items per second by how they ended.",
            unit="short",
            queries=(
                Query(
                    expr="sum by (model_name, finished_reason) "
                    f"(rate(vllm:request_success_total{{{ON}}}{RATE}))",
                    legend="{{model_name}}, {{finished_reason}}",
                ),
            ),
        ),
    ),
)

GPU = Row(
    title="GPU (from NVIDIA's DCGM exporter, where Prometheus scrapes one)",
    is_optional=True,
    columns=4,
    panels=(
        Panel(
            title="GPU in use",
            description="Share of the time in which a kernel runs.",
            unit="percent",
            queries=(Query(expr="max by (gpu, Hostname) (DCGM_FI_DEV_GPU_UTIL)", legend=_DEVICE),),
        ),
        Panel(
            title="GPU memory",
            description="Weights and cache are taken at the start: flat, near what was asked for.",
            unit="decmbytes",
            queries=(Query(expr="max by (gpu, Hostname) (DCGM_FI_DEV_FB_USED)", legend=_DEVICE),),
        ),
        Panel(
            title="Power",
            description="Near the card's limit under load; far below it, the GPU waits for work.",
            unit="watt",
            queries=(
                Query(expr="max by (gpu, Hostname) (DCGM_FI_DEV_POWER_USAGE)", legend=_DEVICE),
            ),
        ),
        Panel(
            title="Temperature",
            description="Cards slow down somewhere above 85 degrees.",
            unit="celsius",
            thresholds=((85, "red"),),
            queries=(Query(expr="max by (gpu, Hostname) (DCGM_FI_DEV_GPU_TEMP)", legend=_DEVICE),),
        ),
    ),
)
