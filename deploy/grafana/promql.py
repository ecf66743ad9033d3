"""The pieces of PromQL that many panels share."""

ON = 'instance=~"$instance"'
"""The replicas chosen at the top of the dashboard."""
RATE = "[$__rate_interval]"
"""Grafana's own choice of window: at least four scrapes, wider when the picture is wide."""

PERCENTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
"""Shares and how a legend names them."""


def quantile(share: float, histogram: str, *, by: str = "", where: str = "") -> str:
    """Return the PromQL of a quantile of a histogram over the chosen replicas."""
    labels = f"le, {by}" if by else "le"
    selector = f"{ON}, {where}" if where else ON
    rates = f"sum by ({labels}) (rate({histogram}_bucket{{{selector}}}{RATE}))"
    return f"histogram_quantile({share}, {rates})"


def mean(histogram: str, *, by: str) -> str:
    """Return the PromQL of the mean of a histogram over the chosen replicas."""
    total = f"sum by ({by}) (rate({histogram}_sum{{{ON}}}{RATE}))"
    count = f"sum by ({by}) (rate({histogram}_count{{{ON}}}{RATE}))"
    return f"{total} / {count}"
