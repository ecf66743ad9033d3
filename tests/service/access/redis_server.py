"""A real Redis for tests, on a socket of its own; it can go and come back, empty."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_START_TIMEOUT_S = 30.0


class RedisServer:
    """A server that forgets everything when it stops."""

    def __init__(self, program: str, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._command = [
            program, "--port", "0", "--unixsocket", str(self._socket), "--save", "",
            "--appendonly", "no", "--dir", str(folder), "--logfile", str(folder / "redis.log"),
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, "redis did not start"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(str(self._socket))
            return True
        return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()
        self._socket.unlink(missing_ok=True)


@contextmanager
def run_redis(folder: Path) -> Iterator[RedisServer]:
    """Start a Redis; skips, and says why, where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server (Debian, Ubuntu: apt install redis-server)")
    server = RedisServer(program, folder)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
