"""Streams of the clients against the real server around a fake engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from engine.errors import EngineFailed
from ncal_client import EngineFailed as ItemFailed
from ncal_client import InvalidInput, NotFound, Problem, Result, StreamEnded, Unauthorized
from ncal_client.sessions.stream_state import WINDOW
from service.access.api_keys import ApiKeys, make_key
from tests.labelling.runs import served
from tests.ncal_client.both import KINDS, Kind, open_client
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve


def make_problems(count: int) -> list[Problem]:
    return [Problem(f"{number}加{number}是多少？", id=number) for number in range(count)]


@KINDS
async def test_results_come_in_order_and_are_those_of_the_service(kind: Kind) -> None:
    items: list[Any] = make_problems(300)
    items[7], items[8], items[9] = "", {"text": "好", "answer": 1}, "\ud800"
    async with served() as (service, url), open_client(kind, url) as client:
        results = await client.collect("stream", items, prior="training")
        body = {"items": [{"text": each.text} for each in items[10:]]}
        told = await service.client.post("/classify/problem/batch?prior=training", json=body)
    assert [each.index for each in results] == list(range(300))
    assert [type(each.error) for each in results[7:10]] == [InvalidInput] * 3
    assert [each.id for each in results[10:]] == list(range(10, 300))
    assert [each.answer.confidence for each in results[10:]] == pytest.approx(
        [each["prediction"]["confidence"] for each in told.json()["results"]]
    )


@KINDS
async def test_no_items_are_no_stream(kind: Kind) -> None:
    async with open_client(kind, "http://127.0.0.1:9") as client:
        assert await client.collect("stream", []) == []


@KINDS
async def test_items_are_taken_as_results_are(kind: Kind) -> None:
    """Whoever takes no results is asked for no more items than the window holds."""
    taken = 0

    def give() -> Iterator[Problem]:
        nonlocal taken
        for item in make_problems(4 * WINDOW):
            taken += 1
            yield item

    async with served() as (_, url), open_client(kind, url) as client:
        results = client.client.stream(give())
        first = await take(results)
        assert first is not None and first.index == 0
        before = -1
        while before != taken:  # until it stands still
            before = taken
            await asyncio.sleep(0.2)
        assert taken <= 3 * WINDOW
        count = 1
        while await take(results):
            count += 1
    assert count == taken == 4 * WINDOW


async def take(results: Any) -> Result | None:
    if isinstance(results, AsyncIterator):
        return await anext(results, None)
    result: Result | None = await asyncio.to_thread(next, results, None)
    return result


@KINDS
async def test_an_answer_comes_before_the_next_item_does(kind: Kind) -> None:
    """A source may wait for what was answered."""
    async with served() as (_, url), open_client(kind, url) as client:
        asked: asyncio.Queue[Problem] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def give() -> Iterator[Problem]:
            for _ in range(3):
                yield asyncio.run_coroutine_threadsafe(asked.get(), loop).result(30)

        async def give_async() -> AsyncIterator[Problem]:
            for _ in range(3):
                yield await asked.get()

        results = client.client.stream(give_async() if kind == "asyncio" else give())
        for item in make_problems(3):
            await asked.put(item)
            result = await take(results)
            assert result is not None and result.id == item.id
        assert await take(results) is None


@KINDS
async def test_a_lost_connection_loses_no_item(kind: Kind) -> None:
    async with run_fake_service() as service:
        calls = 0

        async def fragile(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal calls
            calls += scope["type"] == "http"
            sent = 0

            async def count(message: Message) -> None:
                nonlocal sent
                sent += message.get("body", b"").count(b"\n")
                await send(message)
                if sent > 50 and calls <= 2:
                    raise ConnectionAbortedError

            await service.app(scope, receive, count)

        async with serve(fragile) as address, open_client(kind, f"http://{address}") as client:
            results = await client.collect("stream", make_problems(2000))
    assert calls == 3
    assert [each.id for each in results] == list(range(2000))
    assert all(each.answer for each in results)


@KINDS
async def test_a_service_that_drains_is_gone_on_with_elsewhere(kind: Kind) -> None:
    async with run_fake_service() as old, run_fake_service() as new:
        calls = 0

        async def rollout(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal calls
            calls += scope["type"] == "http"
            await (old if calls == 1 else new).app(scope, receive, send)

        def give() -> Iterator[Problem]:
            for number, item in enumerate(make_problems(400)):
                if number == 200:
                    loop.call_soon_threadsafe(old.classifier.models[0].admission.draining.set)
                yield item

        loop = asyncio.get_running_loop()
        async with serve(rollout) as address, open_client(kind, f"http://{address}") as client:
            results = await client.collect("stream", give())
    assert calls == 2 and [each.id for each in results] == list(range(400))
    assert all(each.answer for each in results)


@KINDS
async def test_what_is_wrong_for_good_is_raised(kind: Kind) -> None:
    _, digest = make_key()
    keys = ApiKeys.read(f"school:{digest}", None)
    async with served(keys=keys) as (_, url), open_client(kind, url) as client:
        with pytest.raises(Unauthorized):
            await client.collect("stream", make_problems(2000))
    async with served() as (_, url), open_client(kind, url) as client:
        with pytest.raises(NotFound):
            await client.collect("stream", make_problems(2), task="none")
        with pytest.raises(InvalidInput, match="prior"):
            await client.collect("stream", make_problems(2), prior="natural")


@KINDS
async def test_an_item_of_which_the_engine_fails_has_its_error(kind: Kind) -> None:
    async with served() as (service, url), open_client(kind, url) as client:
        service.engine.fail = lambda tokens: EngineFailed("no") if len(tokens) % 2 else None
        results = await client.collect("stream", make_problems(20))
    assert len(results) == 20
    assert any(isinstance(each.error, ItemFailed) for each in results)


@KINDS
async def test_what_a_source_raises_comes_out(kind: Kind) -> None:
    def give() -> Iterator[Problem]:
        yield from make_problems(10)
        raise LookupError("the source is broken")

    async with served() as (_, url), open_client(kind, url) as client:
        with pytest.raises(LookupError, match="the source is broken"):
            await client.collect("stream", give())


@KINDS
async def test_whoever_stops_early_leaves_no_connection_behind(kind: Kind) -> None:
    async with served() as (service, url), open_client(kind, url) as client:
        results = client.client.stream(make_problems(5000))
        assert await take(results) is not None
        if isinstance(results, AsyncIterator):
            await results.aclose()  # type: ignore[attr-defined]
        else:
            await asyncio.to_thread(results.close)
        slots = service.app.state.stream_slots
        async with asyncio.timeout(30):
            while slots.taken:
                await asyncio.sleep(0.01)


@KINDS
async def test_a_quota_ends_it_and_says_so(kind: Kind) -> None:
    key, digest = make_key()
    keys = ApiKeys.read(f"school:{digest} items_per_day=100", None)
    async with served(keys=keys) as (_, url), open_client(kind, url, key=key) as client:
        with pytest.raises(StreamEnded, match="rate-limited"):
            await client.collect("stream", make_problems(300))
