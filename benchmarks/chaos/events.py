"""What goes wrong. Each event breaks one thing for a while and mends it again."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

from benchmarks.chaos.supervisor import OPEN_FILES, Supervisor

STREAM = b"POST /classify/problem/stream HTTP/1.1\r\nHost: here\r\n"
_LINES = b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
_HALF_HEAD = b"POST /classify/problem HTTP/1.1\r\nHost: here\r\nContent-Ty"
_HALF_BODY = (
    b"POST /classify/problem HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b'Content-Length: 90\r\n\r\n{"text": '
)
_HALVES = 60
_ENGINE_DEAD = 3
_KILLED = -signal.SIGKILL
_EXIT_S = 60.0
_CLOCK_IS_READ_S = 2.0
"""libfaketime looks for a new offset once a second."""


class Draw(random.Random):
    """Chance, and how long an event may last."""

    longest_s: float

    def draw_duration(self) -> float:
        return self.uniform(0.1, 1.0) * self.longest_s


class Event(NamedTuple):
    """One kind of it."""

    name: str
    happen: Callable[[Supervisor, Draw], Awaitable[None]]
    ends_process: bool = False
    breaks_connections: bool = False


def list_events(supervisor: Supervisor) -> tuple[list[Event], list[str]]:
    """Return those that can happen here, and why the others cannot."""
    events = [
        Event("kill", _kill, ends_process=True, breaks_connections=True),
        Event("stop", _stop, ends_process=True, breaks_connections=True),
        Event("freeze", _freeze),
        Event("slow reader", _read_nothing),
        Event("half requests", _send_halves),
        Event("no descriptors", _take_descriptors, breaks_connections=True),
    ]
    left_out = []
    if supervisor.service.engines:
        events.append(
            Event("kill engine", _kill_engine, ends_process=True, breaks_connections=True)
        )
        events.append(Event("freeze engine", _freeze_engine))
    if supervisor.has_log_disk:
        events.append(Event("full disk", _fill_disk))
    else:
        left_out.append("full disk: a tmpfs can be mounted by root alone")
    if supervisor.clock_library is not None:
        events.append(Event("clock step", _step_clock))
    else:
        left_out.append("clock step: libfaketime is not installed (Debian: libfaketime)")
    return events, left_out


async def _kill(supervisor: Supervisor, draw: Draw) -> None:
    supervisor.service.process.kill()
    await _start_again(supervisor, _KILLED)


async def _stop(supervisor: Supervisor, draw: Draw) -> None:
    supervisor.service.process.terminate()
    await _start_again(supervisor, 0)


async def _kill_engine(supervisor: Supervisor, draw: Draw) -> None:
    for engine in supervisor.service.engines:
        os.kill(engine, signal.SIGKILL)
    await _start_again(supervisor, _ENGINE_DEAD)


async def _start_again(supervisor: Supervisor, expected: int) -> None:
    code = await asyncio.to_thread(supervisor.service.process.wait, _EXIT_S)
    assert code == expected, f"the service ended with {code}, not {expected}"
    await asyncio.to_thread(supervisor.start)


async def _freeze(supervisor: Supervisor, draw: Draw) -> None:
    await _stop_for_a_while(supervisor.service.process.pid, draw)


async def _freeze_engine(supervisor: Supervisor, draw: Draw) -> None:
    await _stop_for_a_while(supervisor.service.engines[0], draw)


async def _stop_for_a_while(process: int, draw: Draw) -> None:
    os.kill(process, signal.SIGSTOP)
    try:
        await asyncio.sleep(min(3.0, draw.draw_duration()))
    finally:
        os.kill(process, signal.SIGCONT)


async def _read_nothing(supervisor: Supervisor, draw: Draw) -> None:
    """A stream that is sent to, and whose answers nobody takes."""
    _, writer = await asyncio.open_connection(*supervisor.address, limit=1024)
    writer.write(STREAM + _LINES)
    line = b'{"text": ""}\n' * 50
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(draw.draw_duration()):
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                await writer.drain()
    writer.transport.abort()


async def _send_halves(supervisor: Supervisor, draw: Draw) -> None:
    writers = []
    for number in range(_HALVES):
        _, writer = await asyncio.open_connection(*supervisor.address)
        writer.write(_HALF_BODY if number % 2 else _HALF_HEAD)
        writers.append(writer)
    await asyncio.sleep(draw.draw_duration())
    for writer in writers:
        writer.transport.abort()


async def _take_descriptors(supervisor: Supervisor, draw: Draw) -> None:
    """More idle connections than the service may have descriptors."""
    writers = []
    for _ in range(OPEN_FILES + 50):
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection(*supervisor.address)
                writers.append(writer)
    await asyncio.sleep(min(3.0, draw.draw_duration()))
    for writer in writers:
        writer.transport.abort()


async def _fill_disk(supervisor: Supervisor, draw: Draw) -> None:
    filler = supervisor.logs / "filler"
    await asyncio.to_thread(_fill, filler)
    assert os.statvfs(supervisor.logs).f_bavail == 0, "the disk of the logs is not full"
    await asyncio.sleep(draw.draw_duration())
    filler.unlink()


def _fill(filler: "os.PathLike[str]") -> None:
    with open(filler, "wb", buffering=0) as file, suppress(OSError):  # there is no more room
        for size in (2**20, 2**12):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


async def _step_clock(supervisor: Supervisor, draw: Draw) -> None:
    """Hours forth or back, seen in the dates of answers, and then right again."""
    offset_s = draw.choice((-1, 1)) * draw.randrange(60, 100_000)
    supervisor.clock.write_text(f"{offset_s:+d}\n")
    await asyncio.sleep(_CLOCK_IS_READ_S + draw.draw_duration())
    seen_s = await _read_clock_s(supervisor) - time.time()
    supervisor.clock.write_text("+0\n")
    assert abs(seen_s - offset_s) < 30, f"the clock was to step {offset_s} s, it did {seen_s:.0f} s"


async def _read_clock_s(supervisor: Supervisor) -> float:
    host, port = supervisor.address
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(f"http://{host}:{port}/health/live")
    return parsedate_to_datetime(answer.headers["date"]).timestamp()
