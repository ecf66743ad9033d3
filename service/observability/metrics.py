"""What Prometheus sees: names are fixed, units are base units, and no label is an id."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import product
from typing import Literal, NamedTuple

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from contract.manifest import Task
from service import __version__
from service.errors import HTTP_STATUS
from service.observability.shadow_metrics import SHARE_BUCKETS, ShadowMetrics

Mode = Literal["single", "batch", "stream", "live"]
MODES: tuple[Mode, ...] = ("single", "batch", "stream", "live")
REFUSAL_REASONS = {
    "overloaded": "overloaded",
    "rate-limited": "rate_limited",
    "draining": "draining",
    "deadline-exceeded": "deadline",
    "body-too-large": "body_too_large",
}
LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
_SERVER_ERRORS = {error.slug: status for error, status in HTTP_STATUS.items() if status >= 500}
_SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """All metrics of one service, in a registry of its own.

    Series whose labels are known from the start exist from the start, at zero: a rate
    over a series that appears with its first event misses that event.
    """

    def __init__(self, *, engine: str = "none") -> None:
        self.registry = CollectorRegistry()
        self._others: list[Collector] = [REGISTRY]
        self._engines: dict[str, Collector] = {}
        """Those of them that are of a model."""
        self._add_request_metrics()
        self._add_item_metrics()
        self._add_task_metrics()
        self._add_engine_metrics(engine)
        self._add_queue_gauges()
        self._add_limits_gauge()
        self.shadow = ShadowMetrics(self.registry, LATENCY_BUCKETS_S)
        self._remember_series()
        self._start_at_zero()

    def _add_request_metrics(self) -> None:
        registry = self.registry
        self.http_requests = Counter(
            "ncal_http_requests_total",
            "HTTP requests.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.http_duration = Histogram(
            "ncal_http_request_duration_seconds",
            "Time from request to last byte.",
            ["route", "method"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )

    def _add_item_metrics(self) -> None:
        registry = self.registry
        self.items = Counter(
            "ncal_items_total",
            "Items by outcome: ok or the type of the error.",
            ["model", "task", "mode", "outcome"],
            registry=registry,
        )
        self.errors = Counter("ncal_errors_total", "Errors by type.", ["type"], registry=registry)
        self.refusals = Counter(
            "ncal_refusals_total",
            "Requests and items refused to protect the service.",
            ["reason"],
            registry=registry,
        )
        self.stage_duration = Histogram(
            "ncal_stage_duration_seconds",
            "Time of an item in each stage.",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.request_items = Histogram(
            "ncal_request_items",
            "Items of a request.",
            ["mode"],
            buckets=_SIZE_BUCKETS,
            registry=registry,
        )
        self.cancelled_items = Counter(
            "ncal_cancelled_items_total",
            "Items whose client left before they were done.",
            registry=registry,
        )

    def _add_task_metrics(self) -> None:
        registry = self.registry
        self.prompt_tokens = Counter(
            "ncal_prompt_tokens_total",
            "Prompt tokens computed.",
            ["model", "task"],
            registry=registry,
        )
        self.predictions = Counter(
            "ncal_predictions_total",
            "Predictions by label.",
            ["model", "task", "label"],
            registry=registry,
        )
        self.confidence = Histogram(
            "ncal_prediction_confidence",
            "Probability of the predicted label, uniform prior.",
            ["model", "task"],
            buckets=SHARE_BUCKETS,
            registry=registry,
        )
        self.needs_review = Counter(
            "ncal_needs_review_total",
            "Predictions whose set holds not just their label, uniform prior.",
            ["model", "task"],
            registry=registry,
        )
        self.inputs_cut = Counter(
            "ncal_inputs_cut_total",
            "Inputs that were too long and were cut.",
            ["model", "task"],
            registry=registry,
        )
        self.training_prior = Gauge(
            "ncal_training_prior",
            "Share of a label in the training data.",
            ["model", "task", "label"],
            registry=registry,
        )

    def _add_engine_metrics(self, engine: str) -> None:
        registry = self.registry
        self.engine_up = Gauge(
            "ncal_engine_up",
            "1 while the engine lives and answers real work or its canary.",
            ["model"],
            registry=registry,
        )
        self.canary_duration = Histogram(
            "ncal_canary_duration_seconds",
            "Time of a canary, a test inference.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.canary_failures = Counter(
            "ncal_canary_failures_total", "Canaries that failed.", registry=registry
        )
        self.model_info = Gauge(
            "ncal_model_info",
            "For each task of a loaded checkpoint: 1 where it answers by default, else 0.",
            ["model", "fingerprint", "task"],
            registry=registry,
        )
        build_info = Gauge("ncal_build_info", "1.", ["version", "engine"], registry=registry)
        build_info.labels(__version__, engine).set(1)

    def _add_queue_gauges(self) -> None:
        registry = self.registry
        self.queue_items = Gauge("ncal_queue_items", "Items that wait.", registry=registry)
        self.queue_tokens = Gauge(
            "ncal_queue_tokens", "Prompt tokens that wait.", registry=registry
        )
        self.queue_oldest = Gauge(
            "ncal_queue_oldest_seconds", "Age of the oldest item that waits.", registry=registry
        )
        self.running_items = Gauge("ncal_running_items", "Items in the engine.", registry=registry)
        self.engine_utilization = Gauge(
            "ncal_engine_utilization",
            "Share of the last 15 s in which the engine had work, 0 to 1; of the busiest one.",
            registry=registry,
        )
        self.open_streams = Gauge("ncal_open_streams", "Streams that are open.", registry=registry)
        self.live_sessions = Gauge(
            "ncal_live_sessions", "Live dialogues that are open.", registry=registry
        )

    def _add_limits_gauge(self) -> None:
        self.shared_limits = Gauge(
            "ncal_shared_limits_up",
            "1 while Redis counts limits and quotas for all replicas, 0 while each does.",
            ["store"],
            registry=self.registry,
        )

    def _remember_series(self) -> None:
        """Look each series up once: an item touches a dozen, and their number is bounded."""
        for metric in vars(self).values():
            if isinstance(metric, MetricWrapperBase):
                metric.labels = cache(metric.labels)  # type: ignore[method-assign]

    def _start_at_zero(self) -> None:
        for error in HTTP_STATUS:
            self.errors.labels(error.slug)
        for reason in REFUSAL_REASONS.values():
            self.refusals.labels(reason)
        for stage in ("queue", "tokenize", "inference"):
            self.stage_duration.labels(stage)
        for mode in MODES:
            self.request_items.labels(mode)

    def add_route(self, route: str, method: str) -> None:
        """Create the series of a route that the objectives count."""
        for status in (200, *sorted(set(_SERVER_ERRORS.values()))):
            self.http_requests.labels(route, method, status)
        self.http_duration.labels(route, method)

    def add_model(self, model: str, tasks: Sequence[Task]) -> None:
        """Create the series of a model."""
        for task in tasks:
            place = (model, task.label_set.task)
            for label, share in zip(task.label_set.ids, task.training_prior, strict=True):
                self.predictions.labels(*place, label)
                self.training_prior.labels(*place, label).set(share)
            for mode, outcome in product(MODES, ("ok", *_SERVER_ERRORS)):
                self.items.labels(*place, mode, outcome)
            for metric in (self.prompt_tokens, self.needs_review, self.inputs_cut):
                metric.labels(*place)
            self.confidence.labels(*place)

    def remove_model(self, model: str) -> None:
        """Take away all series of a model that is gone."""
        for metric in (
            self.items,
            self.prompt_tokens,
            self.predictions,
            self.confidence,
            self.needs_review,
            self.inputs_cut,
            self.training_prior,
            self.engine_up,
            self.model_info,
        ):
            metric.remove_by_labels({"model": model})
            metric.labels.cache_clear()  # type: ignore[union-attr]
        collectors = self._engines.pop(model, None)
        if collectors is not None:
            self._others.remove(collectors)

    def show_model(self, model: str, fingerprint: str, task: str, is_default: bool) -> None:
        """Say whether a model answers a task by default."""
        self.model_info.labels(model, fingerprint, task).set(is_default)

    def add_engine(self, model: str, collectors: Collector | None) -> None:
        """Show an engine as down while it loads, and its own metrics beside ours."""
        self.engine_up.labels(model).set(0)
        if collectors is not None:
            self._engines[model] = collectors
            self._others.append(collectors)

    def watch_engine(self, model: str, is_well: Callable[[], bool]) -> None:
        """Ask how an engine is whenever Prometheus does."""
        self.engine_up.labels(model).set_function(is_well)

    def watch_queues(self, read: Callable[[], "QueueDepth"]) -> None:
        """Read the queues whenever Prometheus asks."""
        self.queue_items.set_function(lambda: read().items)
        self.queue_tokens.set_function(lambda: read().tokens)
        self.queue_oldest.set_function(lambda: read().oldest_s)
        self.running_items.set_function(lambda: read().running_items)
        self.engine_utilization.set_function(lambda: read().utilization)

    def watch_connections(self, streams: Callable[[], int], sessions: Callable[[], int]) -> None:
        """Count the connections that last whenever Prometheus asks."""
        self.open_streams.set_function(streams)
        self.live_sessions.set_function(sessions)

    def watch_shared_limits(self, is_up: Callable[[], bool]) -> None:
        """Say whether limits are shared, whenever Prometheus asks; no series where none are."""
        self.shared_limits.labels("redis").set_function(is_up)

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count a request that was answered, and how long that took."""
        self.http_requests.labels(route, method, status).inc()
        self.http_duration.labels(route, method).observe(duration_s)

    def count_item(self, model: str, task: str, mode: Mode, outcome: str) -> None:
        """Count an item by how it ended; errors of single items are counted as requests."""
        self.items.labels(model, task, mode, outcome).inc()
        if mode != "single" and outcome not in ("ok", "cancelled"):
            self.count_error(outcome)

    def count_error(self, slug: str) -> None:
        self.errors.labels(slug).inc()
        if reason := REFUSAL_REASONS.get(slug):
            self.refusals.labels(reason).inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry) + generate_latest(_Merged(self._others))


class QueueDepth(NamedTuple):
    """What waits and runs in all engines together."""

    items: int
    tokens: int
    oldest_s: float
    running_items: int
    utilization: float
    """Of the engine that is busiest."""


class _Merged(CollectorRegistry):
    """Several registries as one: metrics of the same name become one family."""

    def __init__(self, collectors: Iterable[Collector]) -> None:
        super().__init__()
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for collector in self._collectors:
            for metric in collector.collect():
                known = families.setdefault(metric.name, metric)
                if known is not metric:
                    known.samples.extend(metric.samples)
        return families.values()
