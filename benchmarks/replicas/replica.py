"""One replica: a service on a port that stays its own while its process comes and goes."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from benchmarks.load.connection import Address
from benchmarks.replicas.balancer import find_free_port
from benchmarks.systems.processes import wait_until_healthy

_PATIENT = ("--max-wait-s", "60", "--log-level", "warning")
"""A refusal for want of speed is no fault of the kind that is looked for here."""
_EXIT_TIMEOUT_S = 60.0


class Replica:
    """A service that is started, killed, hung and stopped; at most one process at a time."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.name = name
        self.address = Address("127.0.0.1", find_free_port())
        self._log = folder / f"replica-{name}.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, checkpoint: Path) -> None:
        """Start the service with a checkpoint and return when it is ready."""
        command = [
            sys.executable, "-m", "service", "--port", str(self.address.port),
            "--checkpoint", str(checkpoint), "--engine", "openvino", *_PATIENT, *self._options,
        ]  # fmt: skip
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._process = process
        url = f"http://{self.address.host}:{self.address.port}/health/ready"
        await asyncio.to_thread(wait_until_healthy, url, process, self._log)

    def kill(self) -> None:
        """Let its process end as for want of memory: at once, without a word."""
        self._send(signal.SIGKILL)
        self._get_process().wait()

    def hang(self) -> None:
        """Let its process do nothing any more, its connections open."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a process that hangs go on."""
        self._send(signal.SIGCONT)

    async def stop(self) -> int:
        """Ask it to drain; return its exit code."""
        self._send(signal.SIGTERM)
        return await asyncio.to_thread(self._get_process().wait, _EXIT_TIMEOUT_S)

    def clean_up(self) -> None:
        """Leave nothing of it behind, whatever became of it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        self._get_process().send_signal(number)

    def _get_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"replica {self.name} was never started")
        return self._process
