"""What the embedded engine says of its steps, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class StepMetrics:
    """Of one model; in a registry of their own, which the service shows beside its own."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._duration = Histogram(
            "ncal_engine_step_duration_seconds",
            "Time of one step of the embedded engine.",
            ["model"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
            registry=self.registry,
        ).labels(model)
        self._items = Histogram(
            "ncal_engine_step_items",
            "Items of one step.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        ).labels(model)
        self._tokens = Counter(
            "ncal_engine_tokens_total", "Prompt tokens computed.", ["model"], registry=self.registry
        ).labels(model)
        self._padding = Counter(
            "ncal_engine_padding_tokens_total",
            "Tokens computed beside them, to fill steps up to their longest item.",
            ["model"],
            registry=self.registry,
        ).labels(model)

    def count_step(self, *, seconds: float, items: int, tokens: int, padding: int) -> None:
        """Note a step that was computed."""
        self._duration.observe(seconds)
        self._items.observe(items)
        self._tokens.inc(tokens)
        self._padding.inc(padding)
