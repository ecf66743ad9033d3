"""Refusals made before a request: the same as the ordinary way's, and no more than those."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from service.access.api_keys import ApiKeys, make_key
from service.http import early_refusal
from tests.contract.examples import BLOOM, make_manifest, make_task
from tests.service.fake_service import FakeService, run_fake_service
from tests.service.uvicorn_server import serve

KEY, HASH = make_key()
KEYS = ApiKeys.read(f"school:{HASH}", None)
BODY = b'{"text": "3 + 4 = ?"}'
ORDINARY = {"X-Request-Timeout": "20"}
"""A head that asks for it goes the ordinary way."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Caller:
    """One connection, written and read byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, target: str = "/classify/problem", body: bytes = BODY, **headers: str) -> None:
        self.writer.write(make_head(target, len(body), **headers) + body)

    async def read(self) -> Answer:
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 30)).decode()
        status, *lines = head.strip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(int(status.split()[1]), headers, json.loads(body))

    async def call(self, target: str = "/classify/problem", **headers: str) -> Answer:
        self.send(target, **headers)
        return await self.read()


def make_head(target: str, size: int, **headers: str) -> bytes:
    lines = {"Host": "here", "Content-Type": "application/json", "Content-Length": str(size)}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {target} HTTP/1.1\r\n{text}\r\n".encode()


class Crowd(NamedTuple):
    """A service whose engine hangs and whose queue is full, and how to reach it."""

    service: FakeService
    address: str

    async def connect(self) -> Caller:
        host, _, port = self.address.partition(":")
        return Caller(*await asyncio.open_connection(host, int(port)))


@asynccontextmanager
async def crowd(**options: Any) -> AsyncIterator[Crowd]:
    """Two items run and hang, one waits, and there is room for no other."""
    options = {"max_batched_items": 1, "max_waiting_items": 1, **options}
    manifests = options.pop("manifests", ())
    async with run_fake_service(*manifests, **options) as service:
        refuse = service.app.state.early_refusal.refuse
        async with serve(service.app, refuse=refuse) as address:
            made = Crowd(service, address)
            headers = {"Authorization": f"Bearer {KEY}"}
            service.engine.open.clear()
            held = [await made.connect() for _ in range(3)]
            admission = service.classifier.models[0].admission
            for taken, caller in enumerate(held, 1):
                caller.send(**headers)
                while admission.running_items + admission.waiting_items < taken:
                    await asyncio.sleep(0.001)
            assert admission.waiting_items == 1
            yield made
            service.engine.open.set()
            for caller in held:
                assert (await caller.read()).status == 200
                caller.writer.close()


@pytest.fixture
async def crowded() -> AsyncIterator[Crowd]:
    async with crowd() as made:
        yield made


def count_requests(service: FakeService, route: str = "/classify/problem") -> float:
    labels = {"route": route, "method": "POST", "status": "503"}
    value = service.core.metrics.registry.get_sample_value("ncal_http_requests_total", labels)
    return value or 0.0


def count_sheds(service: FakeService) -> int:
    return sum(each.total() for each in service.app.state.early_refusal._refused.values())


@pytest.mark.parametrize(
    "target",
    ["/classify/problem", "/classify/dialogue-turn", "/classify/tasks/timss",
     "/v1/classify/problem", "/v1/classify/tasks/timss"],
)  # fmt: skip
async def test_both_ways_refuse_in_the_same_words(crowded: Crowd, target: str) -> None:
    caller = await crowded.connect()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    given = {"X-Request-Id": "mine", "traceparent": trace}
    ordinary = await caller.call(target, **given, **ORDINARY)
    assert count_sheds(crowded.service) == 0
    early = await caller.call(target, **given)
    assert count_sheds(crowded.service) == 1
    assert (early.status, early.body) == (ordinary.status, ordinary.body)
    assert early.status == 503 and early.body["request_id"] == "mine"
    assert int(early.headers["retry-after"]) >= 1
    assert early.headers.keys() == ordinary.headers.keys()
    for name in early.headers.keys() - {"date"}:
        assert early.headers[name] == ordinary.headers[name], name
    assert early.headers["traceparent"] == trace
    route = "/classify/tasks/{task}" if "tasks" in target else target.removeprefix("/v1")
    assert count_requests(crowded.service, route) == 2
    registry = crowded.service.core.metrics.registry
    assert registry.get_sample_value("ncal_errors_total", {"type": "overloaded"}) == 2
    assert registry.get_sample_value("ncal_refusals_total", {"reason": "overloaded"}) == 2
    timed = {"route": route, "method": "POST"}
    assert registry.get_sample_value("ncal_http_request_duration_seconds_count", timed) == 2


async def test_a_custom_task_is_refused_under_its_route() -> None:
    manifest = make_manifest(tasks=[make_task(), make_task(BLOOM, 7)])
    async with crowd(manifests=(manifest,)) as crowded:
        caller = await crowded.connect()
        for number, path in enumerate(("/classify/tasks/bloom", "/v1/classify/tasks/bloom"), 1):
            assert (await caller.call(path)).status == 503
            assert count_sheds(crowded.service) == number
            assert count_requests(crowded.service, "/classify/tasks/{task}") == number


async def test_other_requests_and_other_heads_go_the_ordinary_way(crowded: Crowd) -> None:
    caller = await crowded.connect()
    assert (await caller.call("/classify/tasks/unknown")).status == 404
    assert (await caller.call("/classify/problem?top_k=0")).status == 422
    assert (await caller.call("/classify/problem?top_k=2")).status == 503
    assert (await caller.call("/classify/problem", **{"X-Request-Timeout": "soon"})).status == 422
    assert (await caller.call("/classify/problem", Origin="https://school.example")).status == 503
    caller.writer.write(b"PUT" + make_head("/classify/problem", 0)[4:])
    assert (await caller.read()).status == 405
    assert count_sheds(crowded.service) == 0
    caller.send(Connection="close")
    assert (await caller.read()).headers["connection"] == "close"
    assert count_sheds(crowded.service) == 0


async def test_nothing_is_refused_while_there_is_room() -> None:
    async with crowd(max_waiting_items=9) as crowded:
        caller = await crowded.connect()
        caller.send()
        crowded.service.engine.open.set()
        assert (await caller.read()).status == 200
        assert count_sheds(crowded.service) == 0


async def test_a_key_is_asked_for_first() -> None:
    async with crowd(keys=KEYS) as crowded:
        caller = await crowded.connect()
        assert (await caller.call()).status == 401
        assert (await caller.call(Authorization="Bearer wrong")).status == 401
        assert count_sheds(crowded.service) == 0
        assert (await caller.call(Authorization=f"Bearer {KEY}")).status == 503
        assert count_sheds(crowded.service) == 1


async def test_refusals_cost_nothing_of_the_rate_limit() -> None:
    limits = {"rate_limit_items_per_s": 0.001, "rate_limit_burst_items": 5.0}
    async with crowd(**limits) as crowded:  # three of the five are spent on the crowd
        caller = await crowded.connect()
        assert [(await caller.call()).status for _ in range(3)] == [503, 503, 503]
        assert count_sheds(crowded.service) == 3
        crowded.service.app.state.early_refusal._identification._limit.charge("127.0.0.1", 2)
        assert (await caller.call()).status == 429


async def test_behind_a_trusted_proxy_each_client_is_its_own() -> None:
    """By dynamic thresholds: who has nothing waiting finds room where others find none."""
    async with crowd(max_waiting_items=2) as crowded:
        caller = await crowded.connect()
        proxied = {"X-Forwarded-For": "203.0.113.7"}
        names: list[str] = []
        admission = crowded.service.classifier.models[0].admission
        check_room = admission.check_room

        def note(**asked: Any) -> None:
            names.append(asked["client"])
            check_room(**asked)

        admission.check_room = note  # type: ignore[method-assign]
        caller.send(**proxied)
        while not names:
            await asyncio.sleep(0.001)
        assert names[0] == "203.0.113.7"
        assert (await (await crowded.connect()).call()).status == 503
        assert names[-1] == "127.0.0.1"
        crowded.service.engine.open.set()
        assert (await caller.read()).status == 200


async def test_a_connection_goes_on_after_a_refusal(crowded: Crowd) -> None:
    """Whether the body comes with the head, later, or after the answer."""
    caller = await crowded.connect()
    caller.writer.write(make_head("/classify/problem", len(BODY)))
    assert (await caller.read()).status == 503
    caller.writer.write(BODY)
    caller.send()
    assert (await caller.read()).status == 503
    chunked = make_head("/classify/problem", 0, Transfer_Encoding="chunked")
    caller.writer.write(chunked.replace(b"Content-Length: 0\r\n", b"") + b"5\r\n12345\r\n")
    assert (await caller.read()).status == 503
    caller.writer.write(b"0\r\n\r\n")
    caller.send()
    caller.send()
    assert [(await caller.read()).status for _ in range(2)] == [503, 503]
    assert count_sheds(crowded.service) == 5
    crowded.service.engine.open.set()
    while (await caller.call()).status != 200:
        await asyncio.sleep(0.01)


async def test_a_service_that_drains_says_so(crowded: Crowd) -> None:
    caller = await crowded.connect()
    assert (await caller.call()).body["title"] == "Overloaded"
    admission = crowded.service.classifier.models[0].admission
    draining = asyncio.ensure_future(admission.drain(timeout_s=60))
    await asyncio.sleep(0)
    assert (await caller.call()).body["title"] == "Shutting down"
    crowded.service.engine.open.set()
    await draining


async def test_a_refusal_waits_for_the_answer_before_it() -> None:
    async with crowd(max_waiting_items=2) as crowded:
        caller = await crowded.connect()
        admission = crowded.service.classifier.models[0].admission
        caller.send()
        while admission.waiting_items < 2:
            await asyncio.sleep(0.001)
        caller.send()  # in the same connection, and there is no room any more
        await asyncio.sleep(0.05)
        assert count_sheds(crowded.service) == 0
        crowded.service.engine.open.set()
        assert [(await caller.read()).status for _ in range(2)] == [200, 200]


async def test_who_does_not_read_the_answers_is_read_no_more(crowded: Crowd) -> None:
    caller = await crowded.connect()
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    caller.writer.transport.set_write_buffer_limits(high=1 << 20)
    request = make_head("/classify/problem", len(BODY)) + BODY
    sent, before = 0, -1
    while count_sheds(crowded.service) != before or sent < 50_000:
        before = count_sheds(crowded.service)
        for _ in range(500):
            caller.writer.write(request)
        sent += 500
        await asyncio.sleep(0.02)
        if sent > 200_000:
            pytest.fail("the service answers into a socket that nobody reads")
    assert count_sheds(crowded.service) < sent
    caller.writer.transport.abort()


async def test_the_log_tells_how_many_once_a_second(
    crowded: Crowd, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_refusal, "_LOG_INTERVAL_S", 0.05)
    caplog.set_level(logging.INFO, "ncal")
    caller = await crowded.connect()
    for _ in range(3):
        await caller.call()
    for _ in range(500):
        if not count_sheds(crowded.service):
            break
        await asyncio.sleep(0.01)
    fields = [vars(record)["fields"] for record in caplog.records if record.msg == "refused"]
    assert sum(each["requests"] for each in fields) == 3
    assert fields[0] | {"requests": 0, "clients": {}} == {
        "route": "/classify/problem",
        "status": 503,
        "error": "overloaded",
        "requests": 0,
        "clients": {},
    }
    assert sum(each["clients"]["127.0.0.1"] for each in fields) == 3
    assert not [record for record in caplog.records if record.msg == "request"]
