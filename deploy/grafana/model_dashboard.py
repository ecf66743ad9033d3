"""Does the model still fit its data? Labels, confidence and drift, task by task."""

from deploy.grafana.annotations import NEW_MODELS, STARTS
from deploy.grafana.dashboard import Dashboard
from deploy.grafana.panels import Panel, Query, Row, Variable
from deploy.grafana.promql import RATE
from deploy.grafana.shadow_row import SHADOW

_TASK = 'task=~"$task"'


def _share_of_items(counter: str) -> str:
    """PromQL of the share of a task's predictions that a counter marks."""
    marked = f"sum by (task) (rate({counter}{{{_TASK}}}{RATE}))"
    every = f"sum by (task) (rate(ncal_predictions_total{{{_TASK}}}{RATE}))"
    return f"({marked} or 0 * {every}) / {every}"


def _confidence_quantile(share: float) -> str:
    return (
        f"histogram_quantile({share}, "
        f"sum by (le) (rate(ncal_prediction_confidence_bucket{{{_TASK}}}{RATE})))"
    )


_IN_FORCE = Row(
    title="Model in force",
    columns=2,
    panels=(
        Panel(
            title="Checkpoints",
            description="Who answers which task by default; two rows in a rollout.",
            kind="table",
            unit="short",
            queries=(Query(expr="count by (task, model, fingerprint) (ncal_model_info == 1)"),),
        ),
        Panel(
            title="Population stability index, last day",
            description=(
                "How unlike the training mix the predicted labels are: below 0.1 alike, above "
                "0.25 (with over 500 predictions) an alert. 0 when there is no traffic. Labels "
                "are predicted for a uniform prior, so even traffic like the training data need "
                "not give 0: learn your normal value in the first week."
            ),
            unit="short",
            thresholds=((0.1, "orange"), (0.25, "red")),
            queries=(Query(expr="task:ncal_label_drift:psi1d", legend="{{task}}"),),
        ),
    ),
)

_BY_TASK = Row(
    title="$task",
    repeat="task",
    panels=(
        Panel(
            title="Predicted labels",
            description="Predictions per second by label.",
            unit="short",
            stacked=True,
            queries=(
                Query(
                    expr=f"sum by (label) (rate(ncal_predictions_total{{{_TASK}}}{RATE}))",
                    legend="{{label}}",
                ),
            ),
        ),
        Panel(
            title="Share of each label, last day",
            description="Smoothed as for the stability index; compare with the next panel.",
            kind="bargauge",
            unit="percentunit",
            queries=(
                Query(
                    expr=f"sum by (label) (task_label:ncal_predictions:share1d{{{_TASK}}})",
                    legend="{{label}}",
                ),
            ),
        ),
        Panel(
            title="Share of each label, training data",
            description="The class prior in the checkpoint's manifest.",
            kind="bargauge",
            unit="percentunit",
            queries=(
                Query(
                    expr=f"sum by (label) (task_label:ncal_training_prior:avg{{{_TASK}}})",
                    legend="{{label}}",
                ),
            ),
        ),
        Panel(
            title="Confidence",
            description="Predictions by probability of their label: mass moving down means doubt.",
            kind="heatmap",
            unit="percentunit",
            queries=(
                Query(
                    expr=(
                        "sum by (le) "
                        f"(increase(ncal_prediction_confidence_bucket{{{_TASK}}}{RATE}))"
                    ),
                    legend="{{le}}",
                ),
            ),
        ),
        Panel(
            title="Confidence over time",
            description="Of the predicted label: p10, which one in ten stays under, and p50.",
            unit="percentunit",
            queries=(
                Query(expr=_confidence_quantile(0.1), legend="p10"),
                Query(expr=_confidence_quantile(0.5), legend="p50"),
            ),
        ),
        Panel(
            title="Needs review, and cut",
            description="Share of predictions the service doubts, and of inputs it had to cut.",
            unit="percentunit",
            queries=(
                Query(expr=_share_of_items("ncal_needs_review_total"), legend="needs review"),
                Query(expr=_share_of_items("ncal_inputs_cut_total"), legend="cut"),
            ),
        ),
    ),
)

MODEL = Dashboard(
    uid="ncal-model",
    title="NCAL Serve: model",
    description="Predicted labels, confidence and drift of each task, and the model in force.",
    variables=(Variable(name="task", title="Task", metric="ncal_training_prior"),),
    rows=(_IN_FORCE, _BY_TASK, SHADOW),
    annotations=(STARTS, NEW_MODELS),
)
