"""Spans of requests for OpenTelemetry, exported by OTLP over HTTP; the only file that imports it.

Nothing is imported, and no request costs more, unless its usual variables name an endpoint. A
request is one span with at most five below it, however many items it has: receive, tokenize,
queue, inference, answer. No attribute holds what a client wrote: no text, path, query or id.
"""

import importlib.util
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from service import __version__
from service.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

Attributes = Mapping[str, str | int | float]
_SIGNAL_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_NAME = "ncal-serve"
_NANOSECONDS = 1_000_000_000
_FLUSH_MS = 3000


class Stages:
    """When the stages of one request began and ended, over all of its items."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times: dict[str, tuple[int, int]] = {}
        """Begin and end in nanoseconds since 1970, by stage, in order of their first end."""

    def add(self, stage: str, duration_s: float, *, ago_s: float = 0.0) -> None:
        """Note that a stage of an item took so long, and ended so long ago."""
        end = time.time_ns() - round(ago_s * _NANOSECONDS)
        start = end - round(duration_s * _NANOSECONDS)
        first, last = self.times.get(stage, (start, end))
        self.times[stage] = (min(first, start), max(last, end))


class RequestSpan:
    """The span of a request that is under way."""

    def __init__(self, tracing: "Tracing", span: "Span") -> None:
        self._tracing = tracing
        self._span = span
        self._started = time.time_ns()
        self.stages = Stages() if span.is_recording() else None
        """None where the caller's trace is not sampled."""

    @property
    def traceparent(self) -> str:
        """What names this span to others, as W3C Trace Context has it."""
        context = self._span.get_span_context()
        flags = int(context.trace_flags)
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"

    def end(self, name: str, attributes: Attributes, *, has_failed: bool) -> None:
        """End it, with a span for each of its stages; what follows inference is the answer."""
        if self.stages is not None:
            ended = time.time_ns()
            times = dict(self.stages.times)
            if "inference" in times:
                times["answer"] = (times["inference"][1], ended)
            for stage, (start, end) in times.items():
                self._tracing.add_child(self._span, stage, max(start, self._started), end)
            self._span.update_name(name)
            self._span.set_attributes(dict(attributes))
            if has_failed:
                self._tracing.mark_failed(self._span)
        self._span.end()


class Tracing:
    """OpenTelemetry's SDK with its exporter; spans leave in batches, from a thread of its own."""

    def __init__(self, provider: "TracerProvider", processor: "SpanProcessor") -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._processor = processor
        self._trace = trace
        self._make_span = ReadableSpan
        self._scope = InstrumentationScope(_NAME, __version__)
        self._tracer = provider.get_tracer(_NAME, __version__)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def start(cls) -> Self:
        """Start the exporter as the environment says; it reads the variables itself."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins.
        resource = Resource({"service.version": __version__}).merge(Resource.create())
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": _NAME}))
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        processor = BatchSpanProcessor(OTLPSpanExporter())
        provider.add_span_processor(processor)
        return cls(provider, processor)

    def begin(self, headers: Mapping[str, str]) -> RequestSpan:
        """Begin the span of a request, below the one that its `traceparent` names, if any."""
        parent = self._propagator.extract(headers)
        kind = self._trace.SpanKind.SERVER
        return RequestSpan(self, self._tracer.start_span("request", parent, kind))

    def add_child(self, parent: "Span", name: str, start: int, end: int) -> None:
        """Add a span that is over; times in nanoseconds since 1970.

        It was never under way, so it is made as what is exported: a fifth of the time that the
        SDK takes for one that begins and ends.
        """
        above = parent.get_span_context()
        number = self._provider.id_generator.generate_span_id()
        context = self._trace.SpanContext(
            above.trace_id, number, False, above.trace_flags, above.trace_state
        )
        span = self._make_span(
            name,
            context,
            above,
            self._provider.resource,
            start_time=start,
            end_time=max(start, end),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def mark_failed(self, span: "Span") -> None:
        span.set_status(self._trace.StatusCode.ERROR)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.force_flush(_FLUSH_MS)


def start_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return what makes spans where OpenTelemetry's variables name an endpoint, else None.

    Raises SettingsError when they ask for what cannot be done.
    """
    wanted = environment.get(_SIGNAL_ENDPOINT) or environment.get(_ENDPOINT)
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not wanted or is_off or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    for name in _PROTOCOLS:
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise SettingsError(f"{name}: only {_PROTOCOL} is spoken; unset it or say that")
    if not _is_installed():
        raise SettingsError(
            f"{_ENDPOINT} asks for traces, and the extra `tracing` is not installed; install "
            "ncal-serve[tracing], or set OTEL_SDK_DISABLED=true"
        )
    return Tracing.start()


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
