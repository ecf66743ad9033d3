"""`python -m service` as an operator runs it: another process, a real engine."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.unmeasured import make_unmeasured_environment

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 240.0
# Refusing what would wait is the business of few tests; a busy machine must not fail the rest.
PATIENT = ("--max-wait-s", "60")


class ServiceProcess:
    """A service that has said it is ready."""

    def __init__(self, process: subprocess.Popen[str], ready_line: str, log: Path) -> None:
        self.process = process
        self.ready_line = ready_line
        found = re.search(r"http://[0-9.]+:\d+", ready_line)
        assert found, ready_line
        self.url = found[0]
        self._log = log

    def read_log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def find_engines(self) -> list[int]:
        """Process ids of the engines, by the title that vLLM gives them, in order of start."""
        found = [
            process
            for process in find_session(self.process.pid)
            if b"EngineCore" in Path(f"/proc/{process}/cmdline").read_bytes()
        ]
        return sorted(found, key=_read_start)


def run_service(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end, for starts that are refused."""
    return run_module("service", *arguments, timeout_s=120)


def run_module(module: str, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program of the project to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT, env=make_environment(), capture_output=True, text=True, timeout=timeout_s,
        check=False,
    )  # fmt: skip


def make_environment(*, measured: bool = False) -> dict[str, str]:
    """Of a child; whether it measures its coverage is worth the time where it ends by itself."""
    inherited = dict(os.environ) if measured else make_unmeasured_environment()
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def start_service(
    folder: Path, *arguments: str, measured: bool = False, program: Sequence[str] = ("service",)
) -> Iterator[ServiceProcess]:
    """Start on a free port and wait for the ready line; whatever is left is killed.

    `program`: a module that serves, and what it takes before the options of the service.
    """
    with begin_service(
        folder, "--port", "0", *arguments, measured=measured, program=program
    ) as process:
        yield ServiceProcess(process, _wait_for_line(process, folder / "log"), folder / "log")


@contextmanager
def begin_service(
    folder: Path, *arguments: str, measured: bool = False, program: Sequence[str] = ("service",)
) -> Iterator[subprocess.Popen[str]]:
    """Start in a session of its own, its stderr in `log`; whatever is left is killed."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *program, *arguments],
            cwd=ROOT, env=make_environment(measured=measured), stdout=subprocess.PIPE,
            stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def find_session(leader: int) -> list[int]:
    """Process ids that live in the session of the process."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # it has just gone
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_until(is_true: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Poll a callable until it is true; False when the time is up."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if is_true():
            return True
        time.sleep(0.05)
    return False


def _read_start(process: int) -> int:
    """When a process started, in clock ticks since boot."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])


def _wait_for_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    assert line, f"the service did not start:\n{log.read_text()}"
    return line
