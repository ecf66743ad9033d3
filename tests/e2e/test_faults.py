"""Clients that misbehave against the real service: it holds, and serves the others."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from tests.e2e.service_process import ServiceProcess, start_service
from tests.service.duplex_client import open_stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STALL_TIMEOUT_S = 3.0
HEAD_TIMEOUT_S = 5.0
STREAM = "/classify/problem/stream"
STREAMS_ENDED = 'ncal_request_items_count{mode="stream"}'
LIVE = "/classify/dialogue/live"
GOOD = {"text": "把48个苹果平均分给6个小朋友，每人几个？"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("faults")
    limits = ("--stall-timeout-s", str(STALL_TIMEOUT_S), "--head-timeout-s", str(HEAD_TIMEOUT_S))
    with start_service(folder, *limits) as process:
        yield process


@pytest.fixture
async def client(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A good client; whatever a test did, it is served afterwards and nothing is left over."""
    limits = httpx.Limits(max_keepalive_connections=0)  # or an idle one may just be closing
    async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
        yield client
        await wait_until(lambda: is_empty(client))
        assert (await client.post("/classify/problem", json=GOOD)).status_code == 200
        assert await read_metric(client, 'ncal_errors_total{type="internal"}') == 0
    assert service.process.poll() is None


def get_address(service: ServiceProcess) -> str:
    return service.url.removeprefix("http://")


def read_memory_mib(service: ServiceProcess) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.05)


async def read_metric(client: httpx.AsyncClient, series: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(series)), 0.0)


async def is_empty(client: httpx.AsyncClient) -> bool:
    """Whether nothing waits and nothing runs."""
    queue = (await client.get("/models")).json()["models"][0]["queue"]
    return bool(queue["waiting_items"] == queue["running_items"] == 0)


def make_items(count: int) -> list[dict[str, Any]]:
    return [{"text": f"第{number}题：{number}乘以{number}等于多少？"} for number in range(count)]


async def test_a_slow_reader_stops_its_own_stream_and_nobody_else(
    service: ServiceProcess, client: httpx.AsyncClient
) -> None:
    """Most items are mistakes: their answers fill the connection and cost the engine nothing."""
    items = make_items(100_000)
    for number, item in enumerate(items):
        if number % 20:
            item.update(id=f"{number:0256}", text="")
    before_mib = read_memory_mib(service)
    already = await count_streamed(client)
    ended = await read_metric(client, STREAMS_ENDED)
    async with open_stream(get_address(service), STREAM, receive_buffer=4096) as stream:
        sending = asyncio.create_task(stream.send_items(*items))
        for _ in range(20):  # served while the other one reads nothing
            assert (await client.post("/classify/problem", json=GOOD)).status_code == 200
        await wait_until(lambda: has_ended(client, ended))
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await sending
    assert 0 < await count_streamed(client) - already < 50_000
    assert read_memory_mib(service) - before_mib < 64


async def count_streamed(client: httpx.AsyncClient) -> float:
    """Items of streams that were answered, those with a mistake too."""
    lines = (await client.get("/metrics")).text.splitlines()
    streamed = [line for line in lines if line.startswith('ncal_items_total{mode="stream"')]
    return sum(float(line.rpartition(" ")[2]) for line in streamed)


async def has_ended(client: httpx.AsyncClient, before: float) -> bool:
    """Whether the service has let one more stream go: the client took nothing for long."""
    return await read_metric(client, STREAMS_ENDED) > before


async def test_work_of_clients_that_leave_is_cancelled(
    service: ServiceProcess, client: httpx.AsyncClient
) -> None:
    cancelled = await read_metric(client, "ncal_cancelled_items_total")
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as leaving:
        body = {"items": make_items(1000)}
        requests = [
            asyncio.create_task(leaving.post("/classify/problem/batch", json=body))
            for _ in range(4)
        ]
        await wait_until(lambda: is_busy(client))
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    await wait_until(lambda: is_empty(client))
    assert await read_metric(client, "ncal_cancelled_items_total") > cancelled


async def is_busy(client: httpx.AsyncClient) -> bool:
    return not await is_empty(client)


async def test_streams_that_are_broken_off_leave_nothing(
    service: ServiceProcess, client: httpx.AsyncClient
) -> None:
    async def leave_early() -> None:
        async with open_stream(get_address(service), STREAM) as stream:
            await stream.send_items(*make_items(300))
            await stream.read_head()
            await stream.leave()

    await asyncio.gather(*(leave_early() for _ in range(30)))


async def test_half_a_request_keeps_no_one_waiting(
    service: ServiceProcess, client: httpx.AsyncClient
) -> None:
    """Heads and bodies that never end: both meet a deadline."""
    host, _, port = get_address(service).partition(":")
    head = b"POST /classify/problem HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    begun = head + b"X-Request-Timeout: 0.5\r\nContent-Length: 100\r\n\r\n{"
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    for number, (_, writer) in enumerate(connections):
        writer.write(begun if number % 2 else head[: 10 + number % 50])
    assert (await client.post("/classify/problem", json=GOOD)).status_code == 200
    for reader, _ in connections[1::2]:
        assert b" 504 " in await asyncio.wait_for(reader.readline(), 60)
    for reader, _ in connections[::2]:
        assert await asyncio.wait_for(reader.read(), 60) == b""
    for _, writer in connections:
        writer.transport.abort()


MISUSES: list[tuple[list[str | bytes], int]] = [
    ([b"\x00\xff"], 1003),
    (["{"], 1007),
    (["[" * 5000], 1007),
    (['{"type": "sing"}'], 1008),
    (["null"], 1008),
    (["x" * 200_000], 1009),
    (["x" * 2_000_000], 1009),
    (['{"type": "turn", "speaker": "teacher", "text": ""}'] * 30, 1008),
    ([json.dumps({"type": "turn", "speaker": "student", "text": "好"})] * 2
     + [json.dumps({"type": "resume", "index": 0, "previous": []})], 1008),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "code"), MISUSES)
async def test_misuse_of_a_live_dialogue_is_closed_with_a_code(
    service: ServiceProcess, client: httpx.AsyncClient, messages: list[str | bytes], code: int
) -> None:
    async with websockets.connect(f"ws://{get_address(service)}{LIVE}") as connection:
        with suppress(ConnectionClosed):
            for message in messages:
                await connection.send(message)
            async for _ in connection:
                pass
        assert connection.close_code == code


async def test_live_dialogues_that_vanish_leave_nothing(
    service: ServiceProcess, client: httpx.AsyncClient
) -> None:
    @asynccontextmanager
    async def join() -> AsyncIterator[websockets.ClientConnection]:
        async with websockets.connect(f"ws://{get_address(service)}{LIVE}") as connection:
            yield connection
            connection.transport.abort()

    async def vanish(number: int) -> None:
        async with join() as connection:
            for _ in range(number % 5):
                turn = {"type": "turn", "speaker": "student", "text": "等于十二。"}
                await connection.send(json.dumps(turn))

    await asyncio.gather(*(vanish(number) for number in range(100)))
    async with join() as connection:
        assert json.loads(await connection.recv())["type"] == "ready"
