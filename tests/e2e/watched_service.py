"""`python -m service`, with a watch on its event loop: how long was it held by one thing?

`python -m tests.e2e.watched_service FILE OPTION…` appends a line to the file for each stretch of
more than 10 ms in which the loop could do nothing else: when it ended, by `time.monotonic`, and
how many seconds it was long. What counts is processor time, of the loop's own thread and of
those that parse beside it under Python's lock, so that a busy machine does not blur it; engines
and tokenizers compute without that lock. SIGUSR1 holds the loop, for a test of the watch.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from service import process
from service.command import main

_BEAT_S = 0.002
_TOLD_S = 0.010
_UNDER_THE_LOCK = ("parse", "asyncio_", "ThreadPoolExecutor-")
"""Names of threads begin so: ours, those of asyncio and of uvloop."""


class _Clocks(NamedTuple):
    """Seconds of the loop's thread and of those beside it."""

    wall_s: float
    computed_s: float
    waited_s: float
    """That the loop's thread was ready and had no core."""


class WatchedProcess(process.Process):
    """The service, and a task that wakes every other millisecond."""

    file: Path

    async def run(self) -> NoReturn:
        self._watching = asyncio.create_task(watch(self.file))
        self._watching.add_done_callback(lambda _: os.abort())  # nobody would notice
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _hold)
        await super().run()


def _hold() -> None:
    """Hold the loop for longer than anything should, to show that it is seen."""
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass


async def watch(file: Path) -> None:
    """Tell of each stretch that was longer than it should be, for ever."""
    with file.open("a", buffering=1) as told:
        before = _read_clocks()
        while True:
            await asyncio.sleep(_BEAT_S)
            now = _read_clocks()
            held_s = min(
                now.computed_s - before.computed_s,
                now.wall_s - before.wall_s - (now.waited_s - before.waited_s),
            )
            if held_s > _TOLD_S:
                told.write(f"{now.wall_s} {held_s}\n")
            before = _read_clocks()


def _read_clocks() -> _Clocks:
    loop = threading.get_native_id()
    computed_s, waited_s = _read_schedule(loop)
    for thread in threading.enumerate():
        if thread.native_id is not None and thread.name.startswith(_UNDER_THE_LOCK):
            with suppress(OSError):  # it has just ended
                computed_s += _read_schedule(thread.native_id)[0]
    return _Clocks(time.monotonic(), computed_s, waited_s)


def _read_schedule(thread: int) -> tuple[float, float]:
    """Seconds that a thread has run, and that it was ready to."""
    ran, waited, _ = Path(f"/proc/self/task/{thread}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


if __name__ == "__main__":
    WatchedProcess.file = Path(sys.argv[1])
    process.Process = WatchedProcess  # type: ignore[misc]
    sys.exit(main(sys.argv[2:]))
