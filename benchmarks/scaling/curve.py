"""What one replica does with a load: measured, and looked up by the simulation.

`python -m benchmarks.scaling.curve` measures it again on this machine and prints the points.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.load.connection import Address
from benchmarks.load.loops import run_closed_loop, run_open_loop
from benchmarks.load.problems import make_problems
from benchmarks.systems.machine import count_cores, read_processor
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from benchmarks.systems.running import RunningService, start_service
from service.settings import Settings

_PROBLEM = "/classify/problem"
_CLIENTS = 48
_LOADS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
_GAUGE = "ncal_engine_utilization "


class Point(NamedTuple):
    """One load and what it does."""

    load: float
    """Of the most that a replica can do."""
    utilization: float
    """The gauge `ncal_engine_utilization`."""
    cpu: float
    """Processor time of the service, of the cores that there are."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One replica."""

    capacity: float
    """Single items a second, at the most."""
    points: tuple[Point, ...]
    """By growing load."""

    def find_utilization(self, load: float) -> float:
        """Return what the gauge shows at a load, between the measured points along a line."""
        before = Point(0.0, 0.0, 0.0)
        for point in self.points:
            if load <= point.load:
                part = (load - before.load) / (point.load - before.load)
                return before.utilization + part * (point.utilization - before.utilization)
            before = point
        return before.utilization


CURVE = Curve(
    capacity=230.0,
    points=(
        Point(load=0.1, utilization=0.313, cpu=0.169),
        Point(load=0.25, utilization=0.519, cpu=0.383),
        Point(load=0.4, utilization=0.743, cpu=0.591),
        Point(load=0.55, utilization=0.927, cpu=0.827),
        Point(load=0.7, utilization=0.982, cpu=0.925),
        Point(load=0.85, utilization=0.996, cpu=0.944),
        Point(load=1.0, utilization=0.997, cpu=0.954),
    ),
)
"""Of the bundled checkpoint in float32 on two cores of an AMD EPYC, which nothing else used
(2026-11-29). 48 clients got 255 items/s then; the capacity is that of an earlier, busier hour, on
the safe side. It bends: items that come one by one cost a step each, and only where some wait do
they share one."""
STRAIGHT = Curve(capacity=CURVE.capacity, points=(Point(load=1.0, utilization=1.0, cpu=1.0),))
"""Of batches and streams, whose items share steps at any load: the engine's use is the load."""


def measure_curve(service: RunningService, seconds: float) -> Curve:
    """Measure capacity with clients that never pause, and then loads below it."""
    requests = [
        service.address.make_post(_PROBLEM, {"text": text}) for text in make_problems(2000, seed=7)
    ]
    load = run_closed_loop(service.address, requests, clients=_CLIENTS, seconds=seconds)
    samples = asyncio.run(load)
    capacity = sum(sample.status == 200 for sample in samples) / seconds
    points = []
    for number, share in enumerate(_LOADS):
        cpu_s, started = _read_cpu_s(service.process.pid), time.monotonic()
        rate = share * capacity
        asyncio.run(
            run_open_loop(service.address, requests, rate=rate, seconds=seconds, seed=number)
        )
        used_s = _read_cpu_s(service.process.pid) - cpu_s
        cpu = used_s / (time.monotonic() - started) / count_cores()
        utilization = asyncio.run(_read_gauge(service.address))
        points.append(Point(share, round(utilization, 3), round(cpu, 3)))
    return Curve(capacity=round(capacity, 1), points=tuple(points))


def _read_cpu_s(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0


async def _read_gauge(address: Address) -> float:
    connection = await address.connect()
    _, body = await connection.exchange(address.make_get("/metrics"))
    connection.close()
    lines: Sequence[str] = body.decode().splitlines()
    (line,) = [line for line in lines if line.startswith(_GAUGE)]
    return float(line.removeprefix(_GAUGE))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.curve", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=40.0, help="of each load; the gauge forgets with 15 s"
    )
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    settings = Settings(engine="openvino")
    logs = Path(tempfile.mkdtemp(prefix="ncal-curve-"))
    with start_service(settings, logs, "--max-wait-s", "60") as service:
        curve = measure_curve(service, options.seconds)
    print(f"{read_processor()}, {count_cores()} cores: {curve.capacity:.0f} items/s")
    for point in curve.points:
        print(f"    {point},")
    return 0


if __name__ == "__main__":
    sys.exit(main())
