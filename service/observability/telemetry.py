"""The outermost layer: request id, trace, timing headers, log line, metrics, and every error.

Routes raise; here an exception becomes problem+json, and nowhere else.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ERROR_MEDIA_TYPE, ServiceError, to_error_document, to_headers
from service.observability.logs import log, report_fault
from service.observability.metrics import Metrics
from service.observability.tracing import RequestSpan, Stages, Tracing
from service.tasks import name_endpoint

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
ErrorForm = Callable[[ServiceError], tuple[int, dict[str, Any]]]
"""Makes status and JSON document of an error in the form of another protocol."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLIENT_GONE = 499
"""Status in logs and metrics of a request whose client left; nobody receives it."""
_QUIET_ROUTES = ("/health/live", "/health/ready", "/metrics")


class Work(Protocol):
    """What computing one item took."""

    @property
    def tokens(self) -> int: ...

    @property
    def queued_s(self) -> float: ...

    @property
    def inference_s(self) -> float: ...


@dataclass(slots=True)
class Trace:
    """What is known of one request; handlers add what its items took."""

    request_id: str
    traceparent: str | None
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    error: str | None = None
    items: int = 0
    tokens: int = 0
    tokenize_s: float = 0.0
    queued_s: float = 0.0
    """Longest of the items."""
    inference_s: float = 0.0
    """Longest of the items."""
    span: RequestSpan | None = None
    """Where spans are exported and this request is not too trivial for one."""
    at_end: list[Callable[[], None]] = field(default_factory=list)
    """Called when the request, or the WebSocket, is over."""

    def add(self, work: Work) -> None:
        """Count an item that was classified."""
        self.items += 1
        self.tokens += work.tokens
        self.queued_s = max(self.queued_s, work.queued_s)
        self.inference_s = max(self.inference_s, work.inference_s)

    @property
    def stages(self) -> Stages | None:
        """Where the times of stages are noted, if anybody wants to know them."""
        return None if self.span is None else self.span.stages

    def make_headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self.request_id.encode())]
        if self.traceparent is not None:
            headers.append((b"traceparent", self.traceparent.encode()))
        if self.items:
            headers += [
                (b"x-queue-seconds", b"%.6f" % self.queued_s),
                (b"x-tokenize-seconds", b"%.6f" % self.tokenize_s),
                (b"x-inference-seconds", b"%.6f" % self.inference_s),
                (b"x-prompt-tokens", b"%d" % self.tokens),
            ]
        return headers


def read_trace(scope: Scope) -> Trace:
    """Take the caller's request id and trace if they are well formed, else make an id.

    The caller's `traceparent` is passed on as it is: who records no span has none to name.
    """
    headers: dict[bytes, bytes] = dict(scope["headers"])
    request_id = headers.get(b"x-request-id", b"").decode("latin-1")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = secrets.token_hex(16)
    sent = headers.get(b"traceparent", b"").decode("latin-1")
    return Trace(request_id, sent if _TRACEPARENT.fullmatch(sent) else None)


class Telemetry:
    """ASGI layer around everything else; `scope["state"]["trace"]` is the request's Trace."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        error_forms: Mapping[str, ErrorForm] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`error_forms`: by path, where errors are no problem+json. `tracing`: makes spans."""
        self._app = app
        self._metrics = metrics
        self._error_forms = error_forms or {}
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        trace = read_trace(scope)
        if self._tracing is not None and scope["path"] not in _QUIET_ROUTES:
            trace.span = self._tracing.begin(_list_context(scope))
            trace.traceparent = trace.span.traceparent
        state = scope.setdefault("state", {})
        state["trace"] = trace
        state["request_id"] = trace.request_id
        try:
            if scope["type"] != "http":
                return await self._app(scope, receive, send)
            await self._answer(scope, receive, send, trace)
        finally:
            for end in trace.at_end:
                end()
            if trace.span is not None:
                _end_span(trace.span, scope, trace)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, trace: Trace) -> None:
        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *trace.make_headers()]
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        except ClientDisconnect:
            trace.status, trace.error = CLIENT_GONE, "client-gone"
        except Exception as error:
            await self._answer_error(error, scope["path"], trace, send_traced)
        finally:
            self._record(scope, trace)

    async def _answer_error(self, error: Exception, path: str, trace: Trace, send: Send) -> None:
        known = error if isinstance(error, ServiceError) else None
        if known is None:
            known = report_fault(error, request_id=trace.request_id)
        trace.error = known.slug
        self._metrics.count_error(known.slug)
        if trace.status:  # too late for a status: only a broken connection tells
            raise ConnectionAbortedError("the response broke off") from None
        form = self._error_forms.get(path)
        await send_error(known, trace.request_id, send, form)

    def _record(self, scope: Scope, trace: Trace) -> None:
        route = name_endpoint(getattr(scope.get("route"), "path", "unmatched"))
        duration_s = time.perf_counter() - trace.started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count_request(route, method, trace.status, duration_s)
        if route in _QUIET_ROUTES and trace.status == 200:
            return
        log("request", **_describe(scope, trace, route, duration_s))


def _list_context(scope: Scope) -> dict[str, str]:
    """The headers of W3C Trace Context."""
    return {
        name.decode(): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }


def _end_span(span: RequestSpan, scope: Scope, trace: Trace) -> None:
    """End the span by the conventions of OpenTelemetry; only what we have named is told."""
    route = getattr(scope.get("route"), "path", None)
    method = scope.get("method", "GET")
    method = method if method in _METHODS else "_OTHER"
    attributes: dict[str, str | int | float] = {"http.request.method": method}
    if route is not None:
        attributes["http.route"] = route
    if trace.status:
        attributes["http.response.status_code"] = trace.status
    if trace.error is not None:
        attributes["error.type"] = trace.error
    if trace.items:
        attributes |= {"ncal.items": trace.items, "ncal.prompt_tokens": trace.tokens}
    name = method if route is None else f"{method} {route}"
    span.end(name, attributes, has_failed=trace.status >= 500 and trace.status != CLIENT_GONE)


async def send_error(
    error: ServiceError, request_id: str | None, send: Send, form: ErrorForm | None = None
) -> None:
    """Send an error as a whole response, as problem+json or in another form."""
    status = error.status
    if form is None:
        headers, body = make_error_response(error, request_id)
    else:
        status, document = form(error)
        headers, body = _make_response(error, "application/json", document)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def make_error_response(
    error: ServiceError, request_id: str | None
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of the response that tells of an error."""
    return _make_response(error, ERROR_MEDIA_TYPE, to_error_document(error, request_id=request_id))


def _make_response(
    error: ServiceError, media_type: str, document: dict[str, Any]
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = orjson.dumps(document)
    headers = to_headers(error) | {
        "content-type": media_type,
        "content-length": str(len(body)),
    }
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return raw, body


def _describe(scope: Scope, trace: Trace, route: str, duration_s: float) -> dict[str, Any]:
    client = scope["state"].get("client")
    fields = {
        "request_id": trace.request_id,
        "traceparent": trace.traceparent,
        "route": route,
        "method": scope["method"],
        "status": trace.status or None,
        "error": trace.error,
        "client": getattr(client, "name", None),
        "duration_s": round(duration_s, 6),
    }
    if trace.items:
        fields |= {
            "items": trace.items,
            "tokens": trace.tokens,
            "tokenize_s": round(trace.tokenize_s, 6),
            "queued_s": round(trace.queued_s, 6),
            "inference_s": round(trace.inference_s, 6),
        }
    return {name: value for name, value in fields.items() if value is not None}
