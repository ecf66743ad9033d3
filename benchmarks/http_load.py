"""Load over HTTP: one client for every system, cheap enough not to be what is measured.

Raw asyncio protocols and a C parser; a request is bytes that are made beforehand.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple, cast

import httptools
import orjson

from benchmarks.samples import Sample

_BROKEN = 0
"""In place of a status."""
_REFUSED_PAUSE_S = 0.05
_PARTS_AT_ONCE = 8


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._tell: Callable[[int | None], None] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body. ConnectionError if it breaks."""
        reply: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        def tell(status: int | None) -> None:
            if not reply.done():
                reply.set_result(status)

        self.send(request, tell)
        status = await reply
        if status is None:
            raise ConnectionResetError("the server closed the connection")
        return status, b"".join(self._body)

    def send(self, request: bytes, tell: Callable[[int | None], None]) -> None:
        """Send a request; `tell` gets the status of the reply, None if the connection breaks."""
        self._tell = tell
        self._body = []
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no such class
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._finish(None)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int | None) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(status)


class Address(NamedTuple):
    """Where a system listens."""

    host: str
    port: int

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self.host, self.port)
        return connection

    def make_post(self, path: str, content: Any) -> bytes:
        """Return the bytes of a JSON request."""
        body = orjson.dumps(content)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def make_get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode()


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


def ask(address: Address, path: str, content: Any) -> Any:
    """Send one JSON request from outside any event loop; return what is answered."""

    async def exchange() -> bytes:
        connection = await address.connect()
        _, body = await connection.exchange(address.make_post(path, content))
        connection.close()
        return body

    return orjson.loads(asyncio.run(exchange()))


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


async def run_stream(address: Address, path: str, texts: Sequence[str]) -> float:
    """Send problems as one NDJSON stream while reading the answers; return the seconds.

    Raises StreamCut unless every line was answered `ok`.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port)
    answer = _StreamAnswer()
    parser = httptools.HttpResponseParser(answer)
    started = time.perf_counter()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    sending = asyncio.create_task(_send_lines(writer, texts))
    while not answer.is_complete:
        data = await reader.read(2**16)
        if not data:
            raise ConnectionResetError("the stream broke off")
        parser.feed_data(data)
    seconds = time.perf_counter() - started
    sending.cancel()  # under way only if the server ended the stream
    await asyncio.wait((sending,))
    writer.close()
    answer.check(len(texts))
    return seconds


async def _send_lines(writer: asyncio.StreamWriter, texts: Sequence[str]) -> None:
    for first in range(0, len(texts), 64):
        lines = (orjson.dumps({"text": text}) + b"\n" for text in texts[first : first + 64])
        data = b"".join(lines)
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


class StreamCut(ValueError):
    """Not every line of a stream was answered; `reason` is what its last line says."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _StreamAnswer:
    """Counts the lines of an answer; keeps only the last."""

    def __init__(self) -> None:
        self.is_complete = False
        self._lines = 0
        self._last = b""

    def on_body(self, body: bytes) -> None:
        self._lines += body.count(b"\n")
        self._last = (self._last + body)[-512:]

    def on_message_complete(self) -> None:
        self.is_complete = True

    def check(self, items: int) -> None:
        end = orjson.loads(self._last.splitlines()[-1])
        if (self._lines, end.get("ok"), end.get("reason")) != (items + 1, items, "complete"):
            reason = end.get("reason") or end["type"]  # or it was refused as a whole
            raise StreamCut(f"the stream of {items} items ended with {end}", reason)
