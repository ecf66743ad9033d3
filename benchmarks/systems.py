"""The systems under measurement, each in processes of its own, on loopback only."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from benchmarks.http_load import Address
from engine.checkpoint import load_checkpoints
from service.settings import Settings

START_TIMEOUT_S = 300.0
PEER_MODEL = "peer"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


class RunningService:
    """A service of ours that has said it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], address: Address) -> None:
        self.process = process
        self.address = address

    @property
    def family(self) -> list[int]:
        """Process ids of the service and of its engines."""
        return [self.process.pid, *_find_children(self.process.pid)]

    @property
    def engines(self) -> list[int]:
        return [pid for pid in self.family[1:] if b"resource_tracker" not in _read_title(pid)]

    def read_memory_bytes(self, pid: int | None = None) -> int:
        """Resident memory of the service's own process, or of another."""
        pages = Path(f"/proc/{pid or self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def count_open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> int:
        """Ask it to drain; return its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def pin(self, cores: set[int]) -> None:
        """Bind every thread of the service and of its engines to these cores."""
        for pid in self.family:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)


class Worker:
    """`benchmarks.worker` in its process: a question, an answer."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended; see its log")
        answer: dict[str, Any] = orjson.loads(line)
        return answer


def make_peer_environment(threads: int | None) -> dict[str, str]:
    """Return what vLLM itself runs in: this process's environment and nothing of the service.

    To be called before `prepare_environment`. Without `threads` vLLM chooses its cores: all
    but one. Else it is bound to so many, and keeps none back.
    """
    bound = {} if threads is None else {"VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}"}
    return os.environ | _OFFLINE | bound


def stop_cleanly_on_sigterm() -> None:
    """Let a benchmark that is told to stop take its systems down with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def start_service(settings: Settings, logs: Path, *options: str) -> Iterator[RunningService]:
    """Start the service on a free port with these settings, and wait until it is ready."""
    command = [
        sys.executable, "-m", "service", "--port", "0",
        "--checkpoint", str(settings.checkpoint[0]),
        "--engine-threads", str(settings.engine_threads), *options,
    ]  # fmt: skip
    with _run(command, logs / "service.log", pipe=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"http://([0-9.]+):(\d+)", line)
        if found is None:
            raise RuntimeError(f"the service did not start; see {logs / 'service.log'}")
        yield RunningService(process, Address(found[1], int(found[2])))


@contextmanager
def start_worker(
    mode: str, settings: Settings, logs: Path, environment: Mapping[str, str]
) -> Iterator[Worker]:
    """Start `benchmarks.worker` and wait until its engine is loaded."""
    command = [sys.executable, "-m", "benchmarks.worker", mode, str(settings.checkpoint[0])]
    with _run(command, logs / f"{mode}.log", pipe=True, environment=environment) as process:
        worker = Worker(process)
        worker.read()
        yield worker


@contextmanager
def start_vllm_serve(
    settings: Settings, logs: Path, environment: Mapping[str, str]
) -> Iterator[Address]:
    """Start `vllm serve` with its own bounds of a step, and wait until it is healthy."""
    (checkpoint,) = load_checkpoints(settings.checkpoint)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        # What `vllm serve` runs; the command itself fails in builds named `vllm-cpu`.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(checkpoint.directory),
        "--runner", "pooling", "--host", "127.0.0.1", "--port", str(port),
        "--served-model-name", PEER_MODEL, "--dtype", settings.dtype, "--enforce-eager",
        "--load-format", "safetensors", "--max-model-len", str(checkpoint.max_tokens),
        "--kv-cache-memory-bytes", str(settings.kv_cache_mib * 2**20),
    ]  # fmt: skip
    with _run(command, logs / "vllm-serve.log", environment=environment) as process:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", process, logs / "vllm-serve.log")
        yield Address("127.0.0.1", port)


@contextmanager
def _run(
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


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"vllm serve did not start; see {log}")


def _find_children(parent: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _read_parent(entry) == parent
    ]


def _read_title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _read_parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has just gone
        return None
