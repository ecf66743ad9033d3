"""Starts the service again when it has ended, with a disk for its logs and a clock of its own."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from benchmarks.load.connection import Address
from benchmarks.systems.running import RunningService, start_service
from service.settings import Settings

OPEN_FILES = 512
"""Descriptors that the service may have."""
_LOG_DISK_MIB = 128
_PATIENT = ("--max-wait-s", "60", "--request-timeout-s", "600")
"""A refusal for want of speed is no fault of the kind that is looked for here."""


class Supervisor:
    """One service after the other, the same settings each time."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._stack = ExitStack()
        """Ends the service of now."""
        self._whole = ExitStack()
        self._service: RunningService | None = None
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.clock = folder / "clock"
        """Holds what is added to the service's clock, where libfaketime is installed."""
        self.clock_library = _find_clock_library()
        self.has_log_disk = False

    def __enter__(self) -> "Supervisor":
        size = f"size={_LOG_DISK_MIB}m"
        mount = ["mount", "-t", "tmpfs", "-o", size, "ncal-chaos", str(self.logs)]
        done = subprocess.run(mount, capture_output=True, check=False)
        self.has_log_disk = done.returncode == 0
        self.clock.write_text("+0\n")
        with ExitStack() as cleared:
            if self.has_log_disk:
                unmount = ["umount", "--lazy", str(self.logs)]
                cleared.callback(subprocess.run, unmount, check=False)
            cleared.callback(self._stack.close)
            self.start()
            self._whole = cleared.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._whole.close()

    @property
    def service(self) -> RunningService:
        assert self._service is not None
        return self._service

    @property
    def address(self) -> Address:
        return self.service.address

    @property
    def is_up(self) -> bool:
        return self.service.process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is ready; what is left of the one before is cleared."""
        self._stack.close()
        self._service = self._stack.enter_context(
            start_service(
                self._settings, self.logs, *_PATIENT,
                prefix=_limit_files(), environment=self._make_environment(),
            )
        )  # fmt: skip

    def stop(self) -> int:
        """Ask it to drain; return its exit code."""
        return self.service.stop()

    def _make_environment(self) -> dict[str, str]:
        if self.clock_library is None:
            return dict(os.environ)
        return os.environ | {
            "LD_PRELOAD": str(self.clock_library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            # As where a clock is set: what measures durations goes on.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Or every timed wait returns at once: Python's lock would be waited for by spinning.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


def _limit_files() -> Sequence[str]:
    prlimit = shutil.which("prlimit")
    return (prlimit, f"--nofile={OPEN_FILES}") if prlimit else ()


def _find_clock_library() -> Path | None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None
