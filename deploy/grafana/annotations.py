"""Moments that explain a change in any panel; both dashboards mark them."""

from deploy.grafana.panels import Annotation

STARTS = Annotation(
    title="Start",
    expr='process_start_time_seconds{job="ncal-serve"} * 1000',
    text="{{instance}} started",
    colour="blue",
    value_is_time=True,
)
NEW_MODELS = Annotation(
    title="New model",
    expr=(
        "count by (task, model, fingerprint) (ncal_model_info == 1) unless "
        "count by (task, model, fingerprint) (ncal_model_info offset 2m == 1)"
    ),
    text="{{task}}: {{model}} {{fingerprint}}",
    colour="purple",
)
