"""Processes under measurement: started in groups of their own, and what they hold."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_TIMEOUT_S = 300.0


def stop_cleanly_on_sigterm() -> None:
    """Let a benchmark that is told to stop take its systems down with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def run(
    command: Sequence[str],
    log: Path,
    *,
    pipe: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as a process group of its own; nothing of it is left behind."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe else file,
            stderr=file,
            start_new_session=True,
            env=environment,
        )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_processor_s(pid: int) -> float:
    """Return the processor time of a process, all of its threads together, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of it on Linux


def read_family_processor_s(parent: int) -> float:
    """Processor time of a process, its children and theirs, also of those that have ended."""
    ticks = 0
    for pid in find_family(parent):
        with suppress(OSError):  # it has just gone
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and of children it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """The most memory that this process holds from now on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forgets what it held before

    def read_mib(self) -> float:
        text = Path("/proc/self/status").read_text()
        return int(text.partition("\nVmHWM:")[2].split()[0]) / 1024


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll a URL until it answers 200; RuntimeError, with the log, if it never does."""
    end = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{process.args!r} did not start; see {log}")


def find_family(parent: int) -> list[int]:
    """A process and its children, theirs too."""
    found = [parent]
    for each in found:
        found += _find_children(each)
    return found


def read_resident_bytes(pid: int) -> int:
    """Resident memory; pages that are shared count for each that shares them."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def read_proportional_bytes(pid: int) -> int:
    """Memory with a share of each page that several processes use."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) * 1024


def read_title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _find_children(parent: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _read_parent(entry) == parent
    ]


def _read_parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has just gone
        return None
