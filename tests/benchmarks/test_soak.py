"""What the soak calls a leak."""

import random

import pytest

from benchmarks.soak import Vitals, find_growth, is_flat

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
