"""What the pool counts: Ray's own endpoint on every node shows it to Prometheus."""

from ray.util.metrics import Counter

from bulk.part import Report

ROWS = "ncal_bulk_rows"
PARTS = "ncal_bulk_parts"


class PoolMetrics:
    """Of one worker."""

    def __init__(self, task: str) -> None:
        self._rows = Counter(
            ROWS, "Rows that have come to their end, by what became of them.", ("task", "outcome")
        )
        self._parts = Counter(PARTS, "Parts that have come to their end.", ("task", "outcome"))
        for counter in (self._rows, self._parts):
            counter.set_default_tags({"task": task})

    def count_rows(self, report: Report) -> None:
        """Rows of a batch."""
        for outcome, rows in (("labelled", report.rows - report.failed), ("failed", report.failed)):
            if rows:
                self._rows.inc(rows, {"outcome": outcome})

    def count_part(self, outcome: str) -> None:
        """A part, `labelled` or `failed`."""
        self._parts.inc(1, {"outcome": outcome})
