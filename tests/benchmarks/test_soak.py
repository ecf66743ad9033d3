"""What the soak calls a leak, and that a short one runs."""

import random

import pytest

from benchmarks.soak import Vitals, find_growth, is_flat
from service.settings import Settings
from tests.e2e.service_process import run_module

SAMPLES = 120


def make_vitals(
    *, service_leak_mib: float = 0.0, engine_leak_mib: float = 0.0, leaked_files: float = 0.0
) -> list[Vitals]:
    """A service that fills its caches for a while, breathes, and leaks so much a sample."""
    draw = random.Random(1)
    return [
        Vitals(
            300 + 60 * min(1.0, number / 20) + draw.uniform(-3, 3) + service_leak_mib * number,
            500 + 90 * min(1.0, number / 10) + draw.uniform(-3, 3) + engine_leak_mib * number,
            20 + draw.randrange(22) + leaked_files * number,
        )
        for number in range(SAMPLES)
    ]


def judge(vitals: list[Vitals]) -> bool:
    return is_flat(find_growth(vitals), max_growth_mib=24.0, max_more_files=50.0)


def test_full_caches_and_many_clients_are_no_leak() -> None:
    assert judge(make_vitals())


@pytest.mark.parametrize(
    "leak", [{"service_leak_mib": 0.5}, {"engine_leak_mib": 0.5}, {"leaked_files": 1.0}]
)
def test_a_slow_leak_is_found(leak: dict[str, float]) -> None:
    assert not judge(make_vitals(**leak))


def test_growth_is_that_from_the_second_quarter_to_the_last() -> None:
    vitals = [Vitals(service_mib, 0.0, 0.0) for service_mib in (1, 2, 4, 8)]
    assert find_growth(vitals) == Vitals(6.0, 0.0, 0.0)


@pytest.mark.slow
@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_mixed_traffic_breaks_nothing_and_memory_stays_flat() -> None:
    checkpoint = str(Settings().checkpoint[0])
    done = run_module(
        "benchmarks.soak", "--minutes", "0.1", "--checkpoint", checkpoint,
        "--max-growth-mib", "24",  # it was 2 where this was written
        timeout_s=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("ask", "batch", "stream", "dialogue", "talk", "send_nonsense", "leave"):
        assert f"{kind} " in done.stdout, done.stdout
