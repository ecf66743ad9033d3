"""What becomes of requests under way when the engine dies, hangs, or the service is stopped.

`python -m benchmarks.faults`: for each fault a fresh service under the load of 64 clients and
a stream; prints a Markdown table of what was measured. The engine is vLLM, whose process can
die or hang by itself.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import orjson
import uvloop

from benchmarks.load.connection import Address
from benchmarks.load.problems import make_problems
from benchmarks.load.streams import StreamCut, run_stream
from benchmarks.serving.bench import CLIENTS, PROBLEM
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from benchmarks.systems.running import RunningService, start_service
from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.vllm.environment import prepare_environment
from service.settings import Settings

_CUT = "cut off"
_REFUSED = "refused at the door"
_WARM_ANSWERS = 10 * CLIENTS
_PATIENCE_S = 60.0


class Load:
    """Clients that go on until they meet the end of the service."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._texts = make_problems(2000, seed=3)
        self.outcomes: Counter[str] = Counter()
        """Of requests that were under way at `fault_at`."""
        self.stream_end = "still open"
        self.answers = 0
        self.fault_at = float("inf")
        self.last_answer_s = 0.0
        """After the fault: when the last request that it met was done with."""
        self._stopped = False

    async def run(self) -> None:
        await asyncio.gather(*(self._ask(number) for number in range(CLIENTS)), self._stream())

    def stop(self) -> None:
        self._stopped = True

    async def _ask(self, number: int) -> None:
        for text in self._texts[number:]:
            if self._stopped:
                return
            sent = time.monotonic()
            outcome = await self._ask_once(text)
            self.answers += 1
            if sent < self.fault_at < time.monotonic():
                self.outcomes[outcome] += 1
                self.last_answer_s = time.monotonic() - self.fault_at
            if outcome in (_CUT, _REFUSED):
                return

    async def _ask_once(self, text: str) -> str:
        try:
            connection = await self._address.connect()
        except OSError:
            return _REFUSED
        try:
            request = self._address.make_post(PROBLEM, {"text": text})
            status, body = await connection.exchange(request)
        except OSError:
            return _CUT
        connection.close()
        return str(status) if status == 200 else f"{status} `{_read_type(body)}`"

    async def _stream(self) -> None:
        try:
            await run_stream(self._address, PROBLEM + "/stream", self._texts * 50)
        except StreamCut as cut:
            self.stream_end = f"`{cut.reason}`"
        except OSError:
            self.stream_end = _CUT


def _read_type(problem: bytes) -> str:
    return str(orjson.loads(problem)["type"]).rpartition(":")[2]


Act = Callable[[RunningService, Load], Awaitable[str]]


async def kill_engine(service: RunningService, load: Load) -> str:
    """SIGKILL to the engine's process."""
    _signal_engines(service, signal.SIGKILL)
    started = time.monotonic()
    while (health := await _probe(service, "/health/live")) == 200:
        await asyncio.sleep(0.01)
    noticed_s = time.monotonic() - started
    return (
        f"`/health/live` {health} after {noticed_s:.2f} s; "
        f"exit code {await _wait_for_exit(service)}"
    )


async def stop_service(service: RunningService, load: Load) -> str:
    """SIGTERM to the service."""
    service.process.terminate()
    return f"exit code {await _wait_for_exit(service)}"


async def hang_engine(service: RunningService, load: Load) -> str:
    """SIGSTOP to the engine's process, and SIGCONT when readiness is gone."""
    _signal_engines(service, signal.SIGSTOP)
    started = time.monotonic()
    while await _probe(service, "/health/ready") != 503:
        await asyncio.sleep(0.05)
    noticed_s = time.monotonic() - started
    _signal_engines(service, signal.SIGCONT)
    started = time.monotonic()
    while await _probe(service, "/health/ready") != 200:
        await asyncio.sleep(0.05)
    load.stop()
    return f"not ready after {noticed_s:.1f} s; ready {time.monotonic() - started:.1f} s after it"


async def measure(service: RunningService, act: Act) -> str:
    """Return the table's row for one fault."""
    load = Load(service.address)
    running = asyncio.create_task(load.run())
    while load.answers < _WARM_ANSWERS:
        await asyncio.sleep(0.1)
    load.fault_at = time.monotonic()
    what = await act(service, load)
    load.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(running, _PATIENCE_S)
    outcomes = ", ".join(f"{count} × {name}" for name, count in sorted(load.outcomes.items()))
    end = load.stream_end
    return f"| {act.__doc__} | {outcomes} | {load.last_answer_s:.2f} s | {end} | {what} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    settings = Settings(checkpoint=(parser.parse_args().checkpoint,), engine="vllm")
    stop_cleanly_on_sigterm()
    prepare_environment(settings.engine_threads)
    print("| Fault | Requests it met | last answer after | stream's end | then |")
    print("|---|---|---|---|---|")
    for act in (kill_engine, stop_service, hang_engine):
        logs = Path(tempfile.mkdtemp(prefix="ncal-faults-"))
        # Whoever is refused for want of speed would not meet the fault.
        with start_service(settings, logs, "--max-wait-s", "60") as service:
            print(uvloop.run(measure(service, act)), flush=True)
    return 0


def _signal_engines(service: RunningService, number: signal.Signals) -> None:
    for engine in service.engines:
        os.kill(engine, number)


async def _probe(service: RunningService, path: str) -> int | str:
    try:
        connection = await service.address.connect()
        status, _ = await connection.exchange(service.address.make_get(path))
    except OSError:
        return "unreachable"
    connection.close()
    return status


async def _wait_for_exit(service: RunningService) -> str:
    started = time.monotonic()
    code = await asyncio.to_thread(service.process.wait, _PATIENCE_S)
    return f"{code} after {time.monotonic() - started:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
