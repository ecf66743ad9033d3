"""Spans as a collector gets them: a real receiver of OTLP over HTTP, and requests of every kind."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import websockets
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from engine.errors import EngineFailed
from service.observability.tracing import Tracing, start_tracing
from service.settings import SettingsError
from tests.e2e.service_process import start_service
from tests.service.fake_service import FakeService, run_fake_service
from tests.service.uvicorn_server import serve

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
STAGES = {"receive", "tokenize", "queue", "inference", "answer"}
SECRET = "小明的秘密"
PROBLEM = {"text": f"{SECRET}有几个苹果？"}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Receiver(NamedTuple):
    """What has come to a collector."""

    url: str
    requests: list[ExportTraceServiceRequest]

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing to be told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Receiver(f"http://127.0.0.1:{server.server_port}", received)
    server.shutdown()
    thread.join()


@pytest.fixture
def tracing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Tracing:
    monkeypatch.setenv(ENDPOINT, receiver.url)
    made = start_tracing({ENDPOINT: receiver.url})
    assert made is not None
    return made


@asynccontextmanager
async def run_traced(tracing: Tracing, **settings: Any) -> AsyncIterator[FakeService]:
    """A service whose spans have all been sent at the end."""
    async with run_fake_service(tracing=tracing, **settings) as service:
        yield service
    await asyncio.to_thread(tracing.close)


def find_server(receiver: Receiver) -> Span:
    (span,) = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER]
    return span


def read_attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_continues_the_callers_trace_and_shows_its_stages(
    receiver: Receiver, tracing: Tracing
) -> None:
    async with run_traced(tracing) as service:
        response = await service.client.post("/classify/problem", json=PROBLEM, headers=SENT)
    server = find_server(receiver)
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert server.trace_state == "vendor=1"
    assert server.name == "POST /classify/problem"
    assert response.headers["traceparent"] == f"00-{TRACE}-{server.span_id.hex()}-01"
    assert read_attributes(server) == {
        "http.request.method": "POST", "http.route": "/classify/problem",
        "http.response.status_code": 200, "ncal.items": 1,
        "ncal.prompt_tokens": len(service.engine.scored[0]),
    }  # fmt: skip
    children = {span.name: span for span in receiver.spans if span is not server}
    assert children.keys() - {server.name} == STAGES
    moments = [server.start_time_unix_nano]
    for name in ("receive", "tokenize", "queue", "inference", "answer"):
        child = children[name]
        assert (child.trace_id, child.parent_span_id) == (server.trace_id, server.span_id)
        assert child.start_time_unix_nano <= child.end_time_unix_nano
        moments.append(child.end_time_unix_nano)
    assert moments == sorted(moments) and moments[-1] <= server.end_time_unix_nano
    resource = receiver.requests[0].resource_spans[0].resource.attributes
    assert "ncal-serve" in [each.value.string_value for each in resource]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify/problem/batch", {"items": [PROBLEM] * 300}),
        ("/classify/dialogue", {"turns": [{"speaker": "teacher", "text": SECRET}] * 100}),
        ("/classify/tasks/timss", PROBLEM),
        ("/classify", {"input": [PROBLEM["text"]] * 50}),
    ],
)
async def test_many_items_make_no_more_spans_and_no_text_leaves(
    receiver: Receiver, tracing: Tracing, path: str, body: Any
) -> None:
    async with run_traced(tracing) as service:
        response = await service.client.post(
            path, json=body, headers={"x-request-id": "a.name"}, params={"model": "example"}
        )
    assert response.status_code == 200
    assert {span.name for span in receiver.spans} == {find_server(receiver).name, *STAGES}
    assert len(receiver.spans) == 6
    sent = b"".join(request.SerializeToString() for request in receiver.requests)
    for written in (SECRET.encode(), b"a.name", b"model=example"):
        assert written not in sent


async def test_streams_and_live_dialogues_are_a_few_spans_however_long(
    receiver: Receiver, tracing: Tracing
) -> None:
    lines = "\n".join(json.dumps(PROBLEM) for _ in range(200))
    turn = json.dumps({"type": "turn", "speaker": "teacher", "text": SECRET})
    async with run_traced(tracing) as service:
        await service.client.post(
            "/classify/problem/stream",
            content=lines,
            headers={"content-type": "application/x-ndjson"},
        )
        async with (
            serve(service.app) as address,
            websockets.connect(f"ws://{address}/classify/dialogue/live") as live,
        ):
            await live.recv()
            for _ in range(20):
                await live.send(turn)
                await live.recv()
            await live.send(json.dumps({"type": "end"}))
            async for _ in live:
                pass
    servers = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER]
    found = {read_attributes(span)["http.route"]: read_attributes(span) for span in servers}
    assert found["/classify/problem/stream"]["ncal.items"] == 200
    assert found["/classify/dialogue/live"]["ncal.items"] >= 20
    assert len(receiver.spans) <= 2 * 6


async def test_errors_have_their_type_and_what_is_not_sampled_makes_no_span(
    receiver: Receiver, tracing: Tracing
) -> None:
    async with run_traced(tracing) as service:
        await service.client.post("/classify/problem", json={"text": ""})
        service.engine.fail = lambda token_ids: EngineFailed("no")
        await service.client.post("/classify/problem", json=PROBLEM)
        unsampled = SENT | {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        passed = await service.client.post("/classify/problem", json=PROBLEM, headers=unsampled)
        await service.client.get("/health/live")
        await service.client.get("/metrics")
        await service.client.get(f"/{SECRET}")
    assert passed.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert passed.headers["traceparent"].endswith("-00")
    servers = {
        read_attributes(span).get("error.type"): span
        for span in receiver.spans
        if span.kind == Span.SPAN_KIND_SERVER
    }
    assert servers.keys() == {"invalid-input", "engine-failed", "not-found"}
    assert servers["not-found"].name == "GET"
    assert [servers[slug].status.code for slug in ("invalid-input", "engine-failed")] == [0, 2]
    assert TRACE not in {span.trace_id.hex() for span in receiver.spans}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_the_usual_variables_there_are_no_spans(environment: dict[str, str]) -> None:
    assert start_tracing(environment) is None


def test_what_cannot_be_done_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {ENDPOINT: "http://127.0.0.1:1"}
    with pytest.raises(SettingsError, match="only http/protobuf"):
        start_tracing(given | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(SettingsError, match=r"ncal-serve\[tracing\].*OTEL_SDK_DISABLED"):
        start_tracing(given)


@pytest.mark.slow
def test_a_service_sends_what_is_left_before_it_ends(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")  # milliseconds: not by itself
    with start_service(tmp_path) as service:
        response = httpx.post(service.url + "/classify/problem", json=PROBLEM, headers=SENT)
        assert response.status_code == 200 and receiver.spans == []
        service.process.terminate()
        assert service.process.wait(60) == 0
    assert {span.name for span in receiver.spans} == {"POST /classify/problem", *STAGES}
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE}


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    program = (
        "import sys, service.process, service.app; "
        "from service.observability.tracing import start_tracing; "
        "assert start_tracing({}) is None; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
