"""The systems under measurement, each in processes of its own, on loopback only."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.load.connection import Address
from benchmarks.systems.infinity import write_older_form
from benchmarks.systems.machine import Precision, count_cores
from benchmarks.systems.processes import (
    find_family,
    read_proportional_bytes,
    read_resident_bytes,
    read_title,
    run,
    wait_until_healthy,
)
from engine.checkpoint import load_checkpoints
from service.settings import Settings

PEER_MODEL = "peer"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


class RunningService:
    """A service of ours that has said it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], address: Address) -> None:
        self.process = process
        self.address = address

    @property
    def engines(self) -> list[int]:
        """Process ids of the engines that have one of their own."""
        family = find_family(self.process.pid)[1:]
        return [pid for pid in family if b"resource_tracker" not in read_title(pid)]

    def read_memory_bytes(self, pid: int | None = None) -> int:
        """Resident memory of the service's own process, or of another."""
        return read_resident_bytes(pid or self.process.pid)

    def read_whole_memory_bytes(self) -> int:
        """Memory of all processes of the service, what they share counted once."""
        return sum(map(read_proportional_bytes, find_family(self.process.pid)))

    def count_open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> int:
        """Ask it to drain; return its exit code."""
        self.process.terminate()
        return self.process.wait(60)


class Worker:
    """`benchmarks.systems.worker` in its process: a question, an answer."""

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


def make_peer_environment(threads: int) -> dict[str, str]:
    """Return what the peers run in: so many cores, nothing from the network."""
    bound = {
        # By itself vLLM keeps a core back: on two it would compute on one.
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
        "OMP_NUM_THREADS": str(threads),
    }
    return os.environ | _OFFLINE | bound


@contextmanager
def start_service(
    settings: Settings,
    logs: Path,
    *options: str,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningService]:
    """Start the service on a free port with these settings, and wait until it is ready.

    `prefix` is a program that runs it under limits of its own.
    """
    command = [
        *prefix, sys.executable, "-m", "service", "--port", "0",
        "--checkpoint", str(settings.checkpoint[0]), "--dtype", settings.dtype,
        "--engine", settings.engine, "--engine-threads", str(settings.engine_threads), *options,
    ]  # fmt: skip
    log = logs / f"service-{settings.engine}-{settings.dtype}-{'-'.join(options)}.log"
    with run(command, log, pipe=True, environment=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"http://([0-9.]+):(\d+)", line)
        if found is None:
            raise RuntimeError(f"the service did not start; see {log}")
        yield RunningService(process, Address(found[1], int(found[2])))


@contextmanager
def start_worker(mode: str, dtype: Precision, settings: Settings, logs: Path) -> Iterator[Worker]:
    """Start `benchmarks.systems.worker` and wait until its engine is loaded."""
    checkpoint = str(settings.checkpoint[0])
    command = [sys.executable, "-m", "benchmarks.systems.worker", mode, dtype, checkpoint]
    environment = make_peer_environment(count_cores())
    log = logs / f"{mode}-{dtype}.log"
    with run(command, log, pipe=True, environment=environment) as process:
        worker = Worker(process)
        worker.read()
        yield worker


@contextmanager
def start_vllm_serve(settings: Settings, logs: Path, threads: int) -> Iterator[Address]:
    """Start `vllm serve` with its own bounds of a step, and wait until it is healthy."""
    (checkpoint,) = load_checkpoints(settings.checkpoint)
    port = _find_free_port()
    command = [
        # What `vllm serve` runs; the command itself fails in builds named `vllm-cpu`.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(checkpoint.directory),
        "--runner", "pooling", "--host", "127.0.0.1", "--port", str(port),
        "--served-model-name", PEER_MODEL, "--dtype", settings.dtype, "--enforce-eager",
        "--load-format", "safetensors", "--max-model-len", str(checkpoint.max_tokens),
        "--kv-cache-memory-bytes", str(settings.kv_cache_mib * 2**20),
    ]  # fmt: skip
    yield from _serve(command, port, logs / "vllm-serve.log", make_peer_environment(threads))


@contextmanager
def start_infinity(
    program: Path, settings: Settings, logs: Path, threads: int
) -> Iterator[Address]:
    """Start infinity from an environment of its own; it computes in float32."""
    port = _find_free_port()
    checkpoint = logs / "infinity-checkpoint"
    write_older_form(settings.checkpoint[0], checkpoint)
    command = [
        str(program), "v2", "--model-id", str(checkpoint),
        "--served-model-name", PEER_MODEL, "--engine", "torch", "--device", "cpu",
        "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port),
        "--no-bettertransformer", "--no-model-warmup",
    ]  # fmt: skip
    yield from _serve(command, port, logs / "infinity.log", make_peer_environment(threads))


def _serve(
    command: list[str], port: int, log: Path, environment: Mapping[str, str]
) -> Iterator[Address]:
    with run(command, log, environment=environment) as process:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield Address("127.0.0.1", port)


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
