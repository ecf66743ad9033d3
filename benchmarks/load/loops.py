"""Ways to send requests: one client for every system that is measured."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import cycle

from benchmarks.load.connection import Address, Connection
from benchmarks.load.samples import Sample

_BROKEN = 0
"""In place of a status."""
_REFUSED_PAUSE_S = 0.05
_PARTS_AT_ONCE = 8


async def run_closed_loop(
    address: Address, requests: Sequence[bytes], *, clients: int, seconds: float
) -> list[Sample]:
    """Let so many clients send one request after the other for so long."""
    samples: list[Sample] = []
    following = cycle(requests)
    end = time.perf_counter() + seconds

    async def run_client() -> None:
        connection = await address.connect()
        while (due := time.perf_counter()) < end:
            status, _ = await connection.exchange(next(following))
            samples.append(Sample(due, time.perf_counter(), status))
            if status == 503:  # as a client should: at once would be an overload of its own
                await asyncio.sleep(_REFUSED_PAUSE_S)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(run_client())
    return samples


async def run_open_loop(
    address: Address, requests: Sequence[bytes], *, rate: float, seconds: float, seed: int
) -> list[Sample]:
    """Send requests at a Poisson rate, whatever comes back; each has a free connection.

    A latency counts from when a request was due, so a client that falls behind shows.
    """
    sender = _Sender(address)
    draw = random.Random(seed)
    due = time.perf_counter()
    end = due + seconds
    async with asyncio.TaskGroup() as group:
        for request in cycle(requests):
            due += draw.expovariate(rate)
            if due >= end:
                break
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if sender.idle:
                sender.send(sender.idle.popleft(), due, request)
            else:
                group.create_task(sender.connect_and_send(due, request))
    await sender.finish()
    return sender.samples


class _Sender:
    """Sends without a task for each request: at high rates that would be what is measured."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._awaited = 0
        self.idle: deque[Connection] = deque()
        self.samples: list[Sample] = []

    async def connect_and_send(self, due: float, request: bytes) -> None:
        self.send(await self._address.connect(), due, request)

    def send(self, connection: Connection, due: float, request: bytes) -> None:
        self._awaited += 1
        connection.send(request, partial(self._note, connection, due))

    async def finish(self) -> None:
        """Wait for all replies. ConnectionError if a connection broke instead."""
        while self._awaited:
            await asyncio.sleep(0.01)
        if any(sample.status == _BROKEN for sample in self.samples):
            raise ConnectionResetError("the server closed a connection")
        for connection in self.idle:
            connection.close()

    def _note(self, connection: Connection, due: float, status: int | None) -> None:
        self._awaited -= 1
        self.samples.append(Sample(due, time.perf_counter(), status or _BROKEN))
        if connection.is_open:
            self.idle.append(connection)


async def run_batch(address: Address, path: str, texts: Sequence[str]) -> float:
    """Send problems as one batch; return the seconds. RuntimeError unless all are `ok`."""
    connection = await address.connect()
    request = address.make_post(path, {"items": [{"text": text} for text in texts]})
    started = time.perf_counter()
    status, body = await connection.exchange(request)
    seconds = time.perf_counter() - started
    connection.close()
    if status != 200 or f'"ok":{len(texts)}'.encode() not in body:
        raise RuntimeError(f"the batch was answered with {status}")
    return seconds


async def run_peer_batch(address: Address, model: str, texts: Sequence[str]) -> float:
    """Send texts to a `POST /classify` as vLLM has it, some at once; return the seconds."""
    parts = (texts[first : first + 32] for first in range(0, len(texts), 32))
    requests = [address.make_post("/classify", {"model": model, "input": part}) for part in parts]
    return await run_all(address, requests, _PARTS_AT_ONCE)


async def run_all(address: Address, requests: Sequence[bytes], clients: int) -> float:
    """Let so many clients send these requests; return the seconds. RuntimeError unless all are
    answered with 200."""
    started = time.perf_counter()
    waiting = iter(requests)

    async def send() -> None:
        connection = await address.connect()
        for request in waiting:
            status, _ = await connection.exchange(request)
            if status != 200:
                raise RuntimeError(f"a request was answered with {status}")
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(send())
    return time.perf_counter() - started


async def run_one_by_one(
    address: Address, requests: Sequence[bytes], pause_s: float
) -> list[float]:
    """Send one request after the other, each after a pause; return their seconds."""
    connection = await address.connect()
    latencies_s = []
    for request in requests:
        await asyncio.sleep(pause_s)
        started = time.perf_counter()
        status, _ = await connection.exchange(request)
        latencies_s.append(time.perf_counter() - started)
        if status != 200:
            raise RuntimeError(f"an idle request was answered with {status}")
    connection.close()
    return latencies_s
