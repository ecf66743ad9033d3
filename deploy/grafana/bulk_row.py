"""The row of the service dashboard for labelling on a cluster, from Ray's own endpoints."""

from deploy.grafana.panels import Panel, Query, Row
from deploy.grafana.promql import RATE

_ROWS, _PARTS = "ray_ncal_bulk_rows_total", "ray_ncal_bulk_parts_total"

BULK = Row(
    title="Bulk labelling on Ray",
    is_optional=True,
    panels=(
        Panel(
            title="Rows",
            description="Rows that come to their end per second, by task; 0 is a job that waits.",
            unit="short",
            stacked=True,
            queries=(Query(expr=f"sum by (task) (rate({_ROWS}{RATE}))", legend="{{task}}"),),
        ),
        Panel(
            title="Share of rows without a label",
            description="Their column of errors says why: mostly an empty text.",
            unit="percentunit",
            queries=(
                Query(
                    expr=(
                        f'sum by (task) (rate({_ROWS}{{outcome="failed"}}{RATE})) / '
                        f"sum by (task) (rate({_ROWS}{RATE}))"
                    ),
                    legend="{{task}}",
                ),
            ),
        ),
        Panel(
            title="Parts",
            description="Per second; what failed is a file that the job names when it ends.",
            unit="short",
            stacked=True,
            queries=(Query(expr=f"sum by (outcome) (rate({_PARTS}{RATE}))", legend="{{outcome}}"),),
        ),
    ),
)
