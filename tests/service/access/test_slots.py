"""What is shared is bounded for all, and for each."""

import asyncio
from collections.abc import Callable

import pytest

from service.access.slots import Buffer, Slots, Workplaces
from service.errors import Overloaded, RateLimited
from tests.service.duplex_client import open_stream
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve


def test_one_client_cannot_take_all_places() -> None:
    slots = Slots(3, "streams", most_each=2)
    with slots.take("a"), slots.take("a"):
        with pytest.raises(RateLimited, match="2 streams"), slots.take("a"):
            pass
        with slots.take("b"):
            with pytest.raises(Overloaded, match="3 streams"), slots.take("c"):
                pass
            assert slots.taken == 3
    with slots.take("a"):
        assert slots.taken == 1


async def test_a_client_with_much_to_do_lets_others_in_between() -> None:
    places = Workplaces(2)
    began: list[str] = []
    finish = asyncio.Queue[None]()

    async def work(client: str) -> None:
        async with places.take(client):
            began.append(client)
            await finish.get()

    tasks = [asyncio.create_task(work(client)) for client in "aaaaabcb"]
    await asyncio.sleep(0)
    assert began == ["a", "a"]
    for count in range(3, 9):
        finish.put_nowait(None)
        while len(began) < count:
            await asyncio.sleep(0)
    assert "".join(began) == "aabacaba"
    for _ in range(2):
        finish.put_nowait(None)
    await asyncio.gather(*tasks)


async def test_a_workplace_is_free_again_whatever_became_of_who_waited() -> None:
    places = Workplaces(1)

    async def work() -> None:
        async with places.take("a"):
            pass

    async with places.take("a"):
        left, called, stays = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
    called.cancel()  # it has the place, and has not heard of it yet
    await asyncio.wait_for(stays, 30)
    assert left.cancelled() and called.cancelled()


def test_bytes_are_counted_for_all_and_for_each_and_given_back() -> None:
    buffer = Buffer(100)
    with buffer.open("a") as first, buffer.open("b") as second:
        first.add(50)
        with pytest.raises(Overloaded):
            first.add(1)
        second.add(50)
        with buffer.open("c") as third, pytest.raises(Overloaded) as refused:
            third.add(1)
        assert refused.value.retry_after_s == 1.0
        assert buffer.held == 100
    assert buffer.held == 0
    with buffer.open("a") as again:
        again.add(50)


JSON = {"Content-Type": "application/json"}
BODIES = {"max_body_bytes": 4096, "max_buffered_bytes": 8192}


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_many_half_bodies_leave_room_for_others() -> None:
    async with (
        run_fake_service(**BODIES) as service,
        serve(service.app) as address,
        open_stream(address, "/classify/problem", **JSON) as half,
    ):
        await half.send(b'{"text": "' + b"a" * 4000)
        await wait_until(lambda: service.app.state.buffer.held == 4010)
        async with open_stream(address, "/classify/problem", **JSON) as late:
            await late.send(b'{"text": "' + b"a" * 4000)
            assert await late.read_head() == 503
            assert late.headers["retry-after"] == "1"
        await half.send(b'"}')
        await half.finish()
        assert await half.read_head() == 200
        await wait_until(lambda: service.app.state.buffer.held == 0)


async def test_a_half_body_is_not_waited_for_however_patient_the_client_is() -> None:
    async with (
        run_fake_service(body_timeout_s=0.2) as service,
        serve(service.app) as address,
        open_stream(address, "/classify/problem", **JSON, **{"X-Request-Timeout": "500"}) as half,
    ):
        await half.send(b'{"text": "')
        assert await half.read_head() == 504
        assert service.app.state.buffer.held == 0


@pytest.mark.parametrize("path", ["/classify/problem/stream", "/classify/dialogue-turn/stream"])
async def test_streams_of_one_client_leave_places_for_others(path: str) -> None:
    async with (
        run_fake_service(max_client_streams=1) as service,
        serve(service.app, forwarded_allow_ips="127.0.0.1") as address,
        open_stream(address, path) as first,
    ):
        assert await first.read_head() == 200
        async with open_stream(address, path) as second:
            assert await second.read_head() == 429
            assert second.headers["retry-after"] == "10"
        async with open_stream(address, path, **{"X-Forwarded-For": "203.0.113.7"}) as other:
            assert await other.read_head() == 200
