"""Streams over the real server: order, errors, back-pressure, leaving, draining, dying."""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import EngineFailed
from service.api import item_stream
from service.api.item_stream import GROUP, WINDOW_STEPS
from service.http.ndjson import LineSplitter
from service.settings import Settings
from tests.service.duplex_client import DuplexClient, open_stream
from tests.service.fake_service import FakeService, HeldEncoder, run_fake_service
from tests.service.uvicorn_server import serve

PROBLEMS = "/classify/problem/stream"
WINDOW = WINDOW_STEPS * Settings().max_batched_items


class Stage:
    """A running service and its address."""

    def __init__(self, service: FakeService, address: str) -> None:
        self.service = service
        self.address = address
        self.engine = service.engine
        self.admission = service.classifier.models[0].admission

    def open(self, path: str = PROBLEMS, **options: Any) -> Any:
        return open_stream(self.address, path, **options)

    @property
    def open_streams(self) -> int:
        taken: int = self.service.app.state.stream_slots.taken
        return taken


@asynccontextmanager
async def run_stage(**settings: Any) -> AsyncIterator[Stage]:
    async with run_fake_service(**settings) as service, serve(service.app) as address:
        yield Stage(service, address)


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def wait_until_still(read: Callable[[], int]) -> int:
    """Wait until a number has stopped changing; return it."""
    last = -1
    while (now := read()) != last:
        last = now
        await asyncio.sleep(0.3)
    return last


def make_problems(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"p{n}", "text": f"{n} + 1 = ?"} for n in range(first, first + count)]


async def exchange(client: DuplexClient, *items: Any) -> list[dict[str, Any]]:
    await client.send_items(*items)
    await client.finish()
    assert await client.read_head() == 200
    return await client.read_all()


async def test_every_item_is_answered_once_as_it_would_be_alone() -> None:
    problems = make_problems(300)
    async with run_stage() as stage:
        async with stage.open(PROBLEMS + "?top_k=2&prior=training") as client:
            *results, end = await exchange(client, *problems)
        assert end == {"status": "end", "reason": "complete", "items": 300, "ok": 300, "failed": 0}
        assert client.headers["content-type"] == "application/x-ndjson"
        results.sort(key=lambda result: result["index"])
        assert [(result["index"], result["id"]) for result in results] == [
            (number, f"p{number}") for number in range(300)
        ]
        url = "/classify/problem?top_k=2&prior=training"
        alone = await stage.service.client.post(url, json={"text": problems[7]["text"]})
        assert results[7]["prediction"] == alone.json()


async def test_an_answer_comes_before_the_next_item_is_sent() -> None:
    async with run_stage() as stage, stage.open("/classify/dialogue-turn/stream") as client:
        for number in range(3):
            await client.send_items({"speaker": "teacher", "text": "好", "id": number})
            if not client.status:
                await client.read_head()
            assert (await client.read_result())["id"] == number
        await client.finish()
        assert (await client.read_all())[-1]["items"] == 3


async def test_prometheus_sees_how_many_are_open() -> None:
    async with run_stage() as stage, stage.open() as client:
        await client.send_items(*make_problems(1))
        await client.read_head()
        assert "ncal_open_streams 1.0" in (await stage.service.client.get("/metrics")).text
        await client.finish()
        await client.read_all()
        await wait_until(lambda: stage.open_streams == 0)
        assert "ncal_open_streams 0.0" in (await stage.service.client.get("/metrics")).text


async def test_a_custom_task_has_a_stream() -> None:
    async with run_stage() as stage:
        async with stage.open("/classify/tasks/timss/stream") as client:
            assert (await exchange(client, *make_problems(2)))[-1]["ok"] == 2
        async with stage.open("/classify/tasks/none/stream") as client:
            await client.finish()
            assert await client.read_head() == 404


async def test_bad_lines_are_answers_and_spare_their_neighbours() -> None:
    body = (
        b'{"text": "1"}\r\n'
        b"\n   \r\n"
        b"no json\n"
        b'{"text": "2", "id": "keep", "more": 1}\n'
        b'{"text": "' + b"x" * 2000 + b'"}\n'
        b'{"speaker": "teacher"}\n'
        b"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n"
        b'\xff\xfe\n{"text": "3"}'
    )
    async with run_stage(max_line_bytes=1024) as stage, stage.open() as client:
        for start in range(0, len(body), 7):
            await client.send(body[start : start + 7])
        await client.finish()
        await client.read_head()
        *results, end = await client.read_all()
    results.sort(key=lambda result: result["index"])
    assert [result["status"] for result in results] == ["ok", *["error"] * 6, "ok"]
    assert results[2]["id"] == "keep"
    assert [result["error"]["status"] for result in results[1:7]] == [422, 422, 413, 422, 422, 422]
    assert end == {"status": "end", "reason": "complete", "items": 8, "ok": 2, "failed": 6}


@pytest.mark.parametrize("step", [1, 2, 1000])
async def test_a_byte_order_mark_before_a_line_does_not_matter(step: int) -> None:
    """Before the first, as editors write it, and within, where such files were joined."""
    mark = b"\xef\xbb\xbf"
    body = mark + b'{"text": "1"}\n{"text": "2"}\n' + mark + b'{"text": "3"}\n'
    async with run_stage() as stage, stage.open() as client:
        for start in range(0, len(body), step):
            await client.send(body[start : start + step])
        await client.finish()
        await client.read_head()
        assert (await client.read_all())[-1]["ok"] == 3


async def test_an_item_that_fails_in_the_engine_fails_alone() -> None:
    async with run_stage() as stage, stage.open() as client:
        stage.engine.fail = lambda ids: EngineFailed("not this one") if ord("7") in ids else None
        *results, end = await exchange(client, *make_problems(10))
        failed = [result for result in results if result["status"] == "error"]
        assert [result["id"] for result in failed] == ["p7"]
        assert (end["ok"], end["failed"]) == (9, 1)


async def test_a_fault_of_ours_is_a_line_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_stage() as stage, stage.open() as client:
        stage.engine.fail = lambda ids: RuntimeError("".join(map(chr, ids)))
        with caplog.at_level(logging.DEBUG):
            result, end = await exchange(client, {"text": "小明的秘密"})
    assert result["error"]["type"] == "urn:ncal-serve:error:internal"
    assert "秘密" not in json.dumps(result, ensure_ascii=False)
    assert end["failed"] == 1
    assert "RuntimeError" in str([record.__dict__ for record in caplog.records])
    assert "秘密" not in str([record.__dict__ for record in caplog.records])


async def test_an_empty_stream_has_an_end() -> None:
    async with run_stage() as stage, stage.open() as client:
        assert await exchange(client) == [
            {"status": "end", "reason": "complete", "items": 0, "ok": 0, "failed": 0}
        ]


async def test_server_sent_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_stream, "_HEARTBEAT_S", 0.05)
    async with run_stage() as stage, stage.open(Accept="text/event-stream") as client:
        await client.read_head()
        assert client.headers["content-type"].startswith("text/event-stream")
        assert await client.read_line(b"\n\n") == b": waiting"
        await client.send_items({"text": "1"})
        events = [await client.read_line(b"\n\n")]
        await client.finish()
        while (event := await client.read_line(b"\n\n")) is not None:
            events.append(event)
    spoken = [event for event in events if event and not event.startswith(b":")]
    kinds = [event.partition(b"\ndata: ")[0] for event in spoken]
    assert kinds == [b"event: result", b"event: end"]
    assert json.loads(spoken[0].partition(b"\ndata: ")[2])["index"] == 0


async def test_a_client_that_waits_for_100_continue_gets_it_first() -> None:
    async with run_stage() as stage, stage.open(Expect="100-continue") as client:
        assert await client.read_head() == 100
        assert (await exchange(client, *make_problems(1)))[-1]["ok"] == 1


async def test_a_busy_engine_stops_the_reading() -> None:
    total, sent = 20_000, 0
    async with run_stage() as stage, stage.open() as client:
        stage.engine.open.clear()

        async def send_all() -> None:
            nonlocal sent
            for _ in range(total):
                await client.send_items({"text": "x" * 1000})
                sent += 1

        sending = asyncio.create_task(send_all())
        assert await wait_until_still(lambda: sent) < total // 2
        assert stage.admission.running_items + stage.admission.waiting_items <= WINDOW
        assert stage.engine.running == stage.admission.running_items
        sending.cancel()
        await client.leave()
        stage.engine.open.set()
        await wait_until(lambda: stage.open_streams == 0)


async def test_tasks_do_not_grow_with_the_stream() -> None:
    most = 0

    def watch(token_ids: list[int]) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))

    async with run_stage() as stage, stage.open() as client:
        stage.engine.fail = watch
        await client.send_items(*make_problems(1))
        await client.read_head()
        reading = asyncio.create_task(client.read_all())
        for first in range(1, 6001, 500):
            await client.send_items(*make_problems(500, first))
        await client.finish()
        assert (await reading)[-1]["ok"] == 6001
    assert most <= 2 * WINDOW + 20  # each item of the fake engine has a task of its own


async def test_a_slow_reader_stops_the_work_and_is_let_go() -> None:
    async with (
        run_stage(stall_timeout_s=1.5) as stage,
        stage.open(PROBLEMS + "?raw_logits=true", receive_buffer=4096) as client,
    ):
        sending = asyncio.create_task(client.send_items(*make_problems(60_000)))
        await wait_until(lambda: len(stage.engine.scored) > WINDOW)
        scored = await wait_until_still(lambda: len(stage.engine.scored))
        assert scored < 60_000
        await wait_until(lambda: stage.open_streams == 0)
        assert len(stage.engine.scored) <= scored + WINDOW
        sending.cancel()


async def test_the_work_of_a_client_that_leaves_is_cancelled() -> None:
    async with run_stage(max_batched_items=2) as stage, stage.open() as client:
        stage.engine.open.clear()
        await client.send_items(*make_problems(20))
        await wait_until(lambda: stage.engine.running == 4 and stage.admission.waiting_items == 16)
        await client.leave()
        await wait_until(lambda: stage.open_streams == 0)
        assert stage.engine.cancelled == 4
        assert stage.admission.running_items == stage.admission.waiting_items == 0
        assert not stage.engine.scored


async def test_a_client_that_leaves_after_its_last_line_is_noticed() -> None:
    async with run_stage() as stage, stage.open() as client:
        stage.engine.open.clear()
        await client.send_items(*make_problems(3))
        await client.finish()
        await wait_until(lambda: stage.engine.running == 3)
        await client.leave()
        await wait_until(lambda: stage.open_streams == 0)
        assert stage.engine.cancelled == 3


async def test_draining_answers_what_was_taken_and_says_where_it_stopped() -> None:
    async with run_stage(max_batched_items=2) as stage, stage.open() as client:
        stage.engine.open.clear()
        await client.send_items(*make_problems(20))
        await wait_until(lambda: stage.admission.waiting_items == 16)
        draining = asyncio.create_task(stage.admission.drain(timeout_s=30))
        await asyncio.sleep(0.05)
        stage.engine.open.set()
        await client.read_head()
        *results, end = await client.read_all()
        await draining
        assert end == {"status": "end", "reason": "draining", "items": 20, "ok": 20, "failed": 0}
        assert sorted(result["index"] for result in results) == list(range(20))
        async with stage.open() as late:
            await late.finish()
            assert await late.read_head() == 503


async def test_draining_ends_an_idle_stream_at_once() -> None:
    async with run_stage() as stage, stage.open() as client:
        await client.send_items(*make_problems(1))
        await client.read_head()
        await client.read_result()
        await stage.admission.drain(timeout_s=30)
        assert (await client.read_result())["reason"] == "draining"


async def test_a_dead_engine_ends_the_stream() -> None:
    async with run_stage() as stage, stage.open() as client:
        stage.engine.open.clear()
        await client.send_items(*make_problems(5))
        await wait_until(lambda: stage.engine.running == 5)
        stage.engine.die()
        await client.read_head()
        *results, end = await client.read_all()
        kinds = {result["error"]["type"] for result in results}
        assert kinds == {"urn:ncal-serve:error:engine-dead"}
        assert (end["reason"], end["failed"]) == ("engine-dead", 5)


async def test_an_idle_stream_is_told_that_the_engine_died() -> None:
    async with run_stage() as stage, stage.open() as client:
        await client.send_items(*make_problems(1))
        await client.read_head()
        await client.read_result()
        stage.admission.abandon()
        assert (await client.read_result())["reason"] == "engine-dead"
        async with stage.open() as late:
            assert await late.read_head() == 503


async def test_an_idle_stream_is_ended() -> None:
    async with run_stage(stream_idle_timeout_s=0.2) as stage, stage.open() as client:
        await client.send_items(*make_problems(1))
        await client.read_head()
        *_, end = await client.read_all()
        assert (end["reason"], end["ok"]) == ("idle", 1)


async def test_a_stream_of_blank_lines_is_idle() -> None:
    async with run_stage(stream_idle_timeout_s=0.5) as stage, stage.open() as client:

        async def send_blanks() -> None:
            while True:
                await client.send(b"\n \r\n")
                await asyncio.sleep(0.02)

        await client.send_items(*make_problems(1))
        sending = asyncio.create_task(send_blanks())
        await client.read_head()
        *_, end = await client.read_all()
        sending.cancel()
        assert (end["reason"], end["items"]) == ("idle", 1)


async def test_an_item_may_have_a_deadline() -> None:
    async with run_stage() as stage, stage.open(**{"X-Request-Timeout": "0.2"}) as client:
        stage.engine.open.clear()
        await client.send_items(*make_problems(2))
        await client.read_head()
        assert (await client.read_result())["error"]["status"] == 504
        stage.engine.open.set()
        await client.read_result()
        await client.send_items(*make_problems(1))
        assert (await client.read_result())["status"] == "ok"


async def test_what_is_tokenized_too_late_is_told_so_and_the_stream_goes_on() -> None:
    async with run_stage() as stage, stage.open(**{"X-Request-Timeout": "0.2"}) as client:
        encoder = HeldEncoder(stage.service, "timss")
        await client.send_items(*make_problems(9), 0)
        await client.read_head()
        statuses = [(await client.read_result())["error"]["status"] for _ in range(10)]
        assert sorted(statuses) == [422, *[504] * 9]
        encoder.open.set()
        await client.send_items(*make_problems(9))
        await client.finish()
        *results, end = await client.read_all()
        assert [result["status"] for result in results] == ["ok"] * 9
        assert (end["items"], end["failed"]) == (19, 10)


async def test_only_so_many_streams_are_open_at_once() -> None:
    async with run_stage(max_streams=1) as stage:
        async with stage.open() as first:
            await first.read_head()
            async with stage.open() as second:
                await second.finish()
                assert await second.read_head() == 503
                assert int(second.headers["retry-after"]) >= 1
        await wait_until(lambda: stage.open_streams == 0)
        async with stage.open() as third:
            assert await third.read_head() == 200


async def test_a_rate_limit_slows_a_stream_and_refuses_nothing() -> None:
    limits = {"rate_limit_items_per_s": 1000.0, "rate_limit_burst_items": 10}
    async with run_stage(**limits) as stage, stage.open() as client:
        started = asyncio.get_running_loop().time()
        results = await exchange(client, *make_problems(3 * GROUP))
        assert results[-1]["ok"] == 3 * GROUP
        assert asyncio.get_running_loop().time() - started >= 0.05


async def test_other_bodies_are_refused_before_the_stream_begins() -> None:
    async with run_stage() as stage:
        for headers, status in (
            ({"Content-Type": "text/html"}, 415),
            ({"X-Request-Timeout": "soon"}, 422),
        ):
            async with stage.open(**headers) as client:
                await client.finish()
                assert await client.read_head() == status


@settings(deadline=None)
@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=12),
    has_last_break=st.booleans(),
)
def test_lines_come_out_whole_however_they_are_chunked(
    lines: list[bytes], cuts: list[int], has_last_break: bool
) -> None:
    body = b"\n".join(lines) + b"\n" * has_last_break
    splitter = LineSplitter(max_bytes=10)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    found: list[bytes | None] = []
    for start, end in itertools.pairwise(places):
        found += splitter.feed(body[start:end])
        assert len(splitter._rest) <= 10
    found += splitter.finish()
    expected = [line if len(line) <= 10 else None for line in body.split(b"\n")]
    if not body.split(b"\n")[-1]:
        expected.pop()
    assert found == expected
