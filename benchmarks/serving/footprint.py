"""What the service takes: an environment, a start, memory."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.load.samples import Size
from benchmarks.results import Report, Result
from benchmarks.serving.bench import MIB, Bench
from benchmarks.systems.running import start_service
from service.settings import Settings

_ROOT = Path(__file__).parents[2]


def measure_memory(bench: Bench) -> None:
    """All processes of the service, after all that was asked of it."""
    mib = bench.service.read_whole_memory_bytes() / MIB
    bench.report.results.append(
        Result(
            name="Memory of the whole service, after its load", ours=f"{mib:.0f} MiB", ratio=mib,
            target=500, lower_is_better=True, unit="MiB",
        )
    )  # fmt: skip


def measure_start(report: Report, settings: Settings, logs: Path, size: Size) -> None:
    """From the command to the line that says ready; caches are warm."""
    seconds = []
    for _ in range(size.turns):
        started = time.perf_counter()
        with start_service(settings, logs):
            seconds.append(time.perf_counter() - started)
    report.results.append(
        Result(
            name="A later start, until ready", ours=f"{median(seconds):.2f} s",
            ratio=median(seconds), target=3.0, lower_is_better=True, unit="s", runs=seconds,
        )
    )  # fmt: skip


def measure_environment(report: Report, folder: Path) -> None:
    """What `make serve` does when nothing is there: the environment; wheels may be cached."""
    target = folder / "environment"
    command = [sys.executable, "deploy/setup/environment.py", str(target), "cpu"]
    started = time.perf_counter()
    subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    size = sum(
        path.stat().st_size
        for path in target.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    report.results += [
        Result(
            name="Environment of `make serve`, from nothing", ours=f"{seconds:.0f} s",
            ratio=seconds, target=60.0, lower_is_better=True, unit="s",
        ),
        Result(
            name="Environment of `make serve`, on disk", ours=f"{size / 1e6:.0f} MB",
            ratio=size / 1e6, target=500.0, lower_is_better=True, unit="MB",
        ),
    ]  # fmt: skip
