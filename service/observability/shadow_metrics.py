"""What Prometheus sees of a shadow: how it agrees with the model that answers, and how fast it is.

Labels are tasks, label ids and outcomes: all bounded by the loaded checkpoints.
"""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Outcome = Literal["agree", "disagree", "dropped", "failed"]
_MOST_LABELS = 16
"""Pairs of labels are counted for tasks of so many labels at most: 256 series."""
SHARE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))
_DIFFERENCE_BUCKETS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


class ShadowMetrics:
    """In the registry of the service's own metrics."""

    def __init__(self, registry: CollectorRegistry, duration_buckets_s: tuple[float, ...]) -> None:
        self._share = Gauge(
            "ncal_shadow_share",
            "Share of the answered items that a shadow reads too.",
            ["model", "fingerprint"],
            registry=registry,
        )
        self._items = Counter(
            "ncal_shadow_items_total",
            "Items of the shadow: agree or disagree with the answer, dropped, failed.",
            ["task", "outcome"],
            registry=registry,
        )
        self._labels = Counter(
            "ncal_shadow_labels_total",
            "Items by the label of the answer and that of the shadow, uniform prior.",
            ["task", "label", "shadow_label"],
            registry=registry,
        )
        self._confidence = Histogram(
            "ncal_shadow_confidence",
            "Probability of its own label, of the model that answered and of the shadow.",
            ["task", "of"],
            buckets=SHARE_BUCKETS,
            registry=registry,
        )
        self._difference = Histogram(
            "ncal_shadow_confidence_difference",
            "How far these two are apart.",
            ["task"],
            buckets=_DIFFERENCE_BUCKETS,
            registry=registry,
        )
        self._duration = Histogram(
            "ncal_shadow_duration_seconds",
            "Time in the engine of the same items, of the model that answered and of the shadow.",
            ["of"],
            buckets=duration_buckets_s,
            registry=registry,
        )

    def show(self, model: str, fingerprint: str, share: float, tasks: list[str]) -> None:
        """Say who reads along, and create the series of its tasks."""
        self._share.clear()
        self._share.labels(model, fingerprint).set(share)
        for task in tasks:
            for outcome in ("agree", "disagree", "dropped", "failed"):
                self._items.labels(task, outcome)

    def hide(self) -> None:
        """Nobody reads along."""
        self._share.clear()

    def count(self, task: str, outcome: Outcome) -> None:
        self._items.labels(task, outcome).inc()

    def compare(
        self,
        task: str,
        *,
        classes: int,
        labels: tuple[str, str],
        confidences: tuple[float, float],
        durations_s: tuple[float, float],
    ) -> None:
        """Note an item that both have read; each pair is the first model's and the shadow's."""
        self.count(task, "agree" if labels[0] == labels[1] else "disagree")
        if classes <= _MOST_LABELS:
            self._labels.labels(task, *labels).inc()
        for of, confidence, duration_s in zip(
            ("first", "shadow"), confidences, durations_s, strict=True
        ):
            self._confidence.labels(task, of).observe(confidence)
            self._duration.labels(of).observe(duration_s)
        self._difference.labels(task).observe(abs(confidences[0] - confidences[1]))
