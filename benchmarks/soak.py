"""Hours of mixed traffic in short: nothing breaks, and memory stays flat.

`python -m benchmarks.soak [--minutes 30] [--engine vllm]` starts a service and lets all kinds of
clients use it at once: singles, batches, streams, whole and live dialogues, some that send nonsense
and some that leave. It ends with 0 when every answer was as it should be and the memory of
service and engine grew by less than `--max-growth-mib`, and their open files by less than
`--max-more-files`, from the second quarter of the time (caches are full by then) to the last.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import orjson
import uvloop
import websockets

from benchmarks.load.connection import Address, Connection
from benchmarks.load.loops import run_batch
from benchmarks.load.problems import make_problems
from benchmarks.load.streams import run_stream
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from benchmarks.systems.running import RunningService, start_service
from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.vllm.environment import prepare_environment
from service.settings import Settings

_MIB = 2**20
_PATIENT = ("--max-wait-s", "60", "--request-timeout-s", "600")
"""A refusal for want of speed is no fault of the kind that is looked for here."""


_PATIENCE_S = 120.0
"""Of a client, whatever else the machine does."""


class Vitals(NamedTuple):
    """State of the processes at one moment."""

    service_mib: float
    engine_mib: float
    open_files: float


class Traffic:
    """All clients; counts what they saw."""

    def __init__(self, address: Address, end: float, pause_s: float) -> None:
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.address = address
        self._end = end
        self._pause_s = pause_s
        self._draw = random.Random(1)
        self._texts = make_problems(5000, seed=2)

    async def run(self) -> None:
        kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._ask: 8, self._batch: 2, self._stream: 2, self._dialogue: 2, self._talk: 4,
            self._send_nonsense: 2, self._leave: 2,
        }  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for kind, clients in kinds.items():
                for _ in range(clients):
                    group.create_task(self._repeat(kind))

    async def _repeat(self, act: Callable[[], Awaitable[None]]) -> None:
        name = act.__name__.removeprefix("_")
        while time.monotonic() < self._end:
            await self._rest(self._draw.random() * 2 * self._pause_s)
            started = time.monotonic()
            try:
                await act()
            except (AssertionError, OSError, websockets.WebSocketException, ValueError) as error:
                self.note_failure(name, started, error)
                await asyncio.sleep(1.0)
            else:
                self.seen[name] += 1

    async def _rest(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        while (left := min(over, self._end) - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.5))

    def note_failure(self, name: str, started: float, error: Exception) -> None:
        """Take it for a fault: here nothing is to fail."""
        self.faults.append(f"{name}: {type(error).__name__} {error}")

    def _pick(self, count: int) -> list[str]:
        return self._draw.choices(self._texts, k=count)

    def _make_dialogue(self, turns: int) -> list[dict[str, str]]:
        speakers = ("teacher", "student")
        texts = self._pick(turns)
        return [{"speaker": speakers[n % 2], "text": text} for n, text in enumerate(texts)]

    async def _post(self, path: str, content: object, status: int = 200) -> bytes:
        connection = await self.address.connect()
        found, body = await connection.exchange(self.address.make_post(path, content))
        connection.close()
        assert found == status, f"{path} answered {found}"
        return body

    async def _ask(self) -> None:
        for text in self._pick(20):
            await self._post("/classify/problem", {"text": text})

    async def _batch(self) -> None:
        items = [{"id": number, "text": text} for number, text in enumerate(self._pick(200))]
        answer = orjson.loads(await self._post("/classify/problem/batch", {"items": items}))
        assert answer["ok"] == 200, f"{answer['failed']} of 200 items failed"
        assert [result["id"] for result in answer["results"]] == list(range(200))

    async def _stream(self) -> None:
        await run_stream(self.address, "/classify/problem/stream", self._pick(500))

    async def _dialogue(self) -> None:
        turns = self._make_dialogue(30)
        answer = orjson.loads(await self._post("/classify/dialogue", {"turns": turns}))
        assert answer["ok"] == 30, f"{answer['failed']} of 30 turns failed"
        assert answer["structure"] is not None

    async def _talk(self) -> None:
        url = f"ws://{self.address.host}:{self.address.port}/classify/dialogue/live"
        async with websockets.connect(url, open_timeout=_PATIENCE_S) as connection:
            for turn in self._make_dialogue(10):
                await connection.send(json.dumps({"type": "turn", **turn}))
            await connection.send('{"type": "end"}')
            heard = [orjson.loads(message) async for message in connection]
        final = [message for message in heard if message.get("final")]
        assert [message["index"] for message in final] == list(range(10)), heard[-1]

    async def _send_nonsense(self) -> None:
        await self._post("/classify/problem", {"text": 1}, 422)
        await self._post("/classify/nothing", {}, 404)
        await self._post("/classify/problem/stream", {}, 415)
        answer = await self._post("/classify/problem/batch", {"items": [1, {}]})
        assert orjson.loads(answer)["failed"] == 2

    async def _leave(self) -> None:
        items = [{"text": text} for text in self._pick(100)]
        connection: Connection = await self.address.connect()
        request = self.address.make_post("/classify/problem/batch", {"items": items})
        with_answer = asyncio.ensure_future(connection.exchange(request))
        await asyncio.wait((with_answer,), timeout=self._draw.random())
        connection.close()
        with_answer.cancel()


async def soak(
    service: RunningService, seconds: float, pause_s: float
) -> tuple[Traffic, list[Vitals]]:
    """Run the traffic; look at the processes a hundred times and more."""
    await warm_up(service.address)
    traffic = Traffic(service.address, time.monotonic() + seconds, pause_s)
    running = asyncio.create_task(traffic.run())
    vitals: list[Vitals] = []
    interval_s = min(5.0, seconds / 100)
    while not running.done():
        await asyncio.wait((running,), timeout=interval_s)
        vitals.append(read_vitals(service))
    await running
    return traffic, vitals


async def warm_up(address: Address, items: int = 1000) -> None:
    """Touch every page of the key/value cache: it is filled once and stays."""
    for seed in range(2):
        texts = make_problems(items, seed=seed)
        await run_batch(address, "/classify/problem/batch", texts)


def read_vitals(service: RunningService) -> Vitals:
    return Vitals(
        service.read_memory_bytes() / _MIB,
        sum(service.read_memory_bytes(engine) for engine in service.engines) / _MIB,
        service.count_open_files(),
    )


def describe_quarters(values: list[float]) -> list[float]:
    """Return the medians of the four quarters of the time."""
    size = max(1, len(values) // 4)
    starts = (min(quarter * size, len(values) - 1) for quarter in range(4))
    return [median(values[start : start + size]) for start in starts]


def find_growth(vitals: list[Vitals]) -> Vitals:
    """From the second quarter of the time to the last, by the medians of both."""
    columns = zip(*vitals, strict=True)
    quarters = [describe_quarters(list(column)) for column in columns]
    return Vitals(*(medians[3] - medians[1] for medians in quarters))


def is_flat(growth: Vitals, *, max_growth_mib: float, max_more_files: float) -> bool:
    """Whether neither memory nor open files grew as a leak makes them grow."""
    grown_mib = max(growth.service_mib, growth.engine_mib)
    return grown_mib < max_growth_mib and growth.open_files < max_more_files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("openvino", "vllm"), default="openvino")
    parser.add_argument(
        "--pause-s", type=float, default=0.05, help="mean pause of a client between its acts"
    )
    parser.add_argument("--max-growth-mib", type=float, default=16.0)
    parser.add_argument(
        "--max-more-files", type=float, default=50.0, help="twice as many as there are clients"
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    arguments = parser.parse_args()
    settings = Settings(checkpoint=(arguments.checkpoint,), engine=arguments.engine)
    stop_cleanly_on_sigterm()
    prepare_environment(settings.engine_threads)
    logs = Path(tempfile.mkdtemp(prefix="ncal-soak-"))
    with start_service(settings, logs, *_PATIENT) as service:
        traffic, vitals = uvloop.run(soak(service, arguments.minutes * 60, arguments.pause_s))
        exit_code = service.stop()
    growth = find_growth(vitals)
    print(f"log of the service: {logs}")
    print("done:", ", ".join(f"{name} {count}" for name, count in sorted(traffic.seen.items())))
    for name, values in zip(Vitals._fields, zip(*vitals, strict=True), strict=True):
        medians = describe_quarters(list(values))
        print(f"{name} by quarter: {', '.join(f'{value:.0f}' for value in medians)}")
    print("growth:", ", ".join(f"{name} {value:+.1f}" for name, value in growth._asdict().items()))
    print(f"faults: {len(traffic.faults)}; exit code of the service: {exit_code}")
    for fault in traffic.faults[:20]:
        print(" ", fault)
    holds = is_flat(
        growth, max_growth_mib=arguments.max_growth_mib, max_more_files=arguments.max_more_files
    )
    return 0 if holds and not traffic.faults and exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
