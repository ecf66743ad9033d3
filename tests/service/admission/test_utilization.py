"""How much of the time the engine has work."""

import pytest

from service.admission.admission import Admission
from service.admission.fair_queue import Priority
from service.admission.utilization import MEMORY_S, Utilization
from tests.service.fake_service import run_fake_service


def test_half_of_the_time_is_a_half_in_the_long_run() -> None:
    utilization = Utilization(0.0)
    for second in range(200):
        utilization.note(is_busy=second % 2 == 0, now=float(second))
    assert utilization.read(200.0) == pytest.approx(0.5, abs=0.05)


def test_what_was_long_ago_is_forgotten() -> None:
    utilization = Utilization(0.0)
    utilization.note(is_busy=True, now=0.0)
    assert utilization.read(MEMORY_S) == pytest.approx(0.632, abs=0.001)
    assert utilization.read(20 * MEMORY_S) == pytest.approx(1.0)
    utilization.note(is_busy=False, now=20 * MEMORY_S)
    assert utilization.read(40 * MEMORY_S) == pytest.approx(0.0, abs=1e-6)


async def test_the_engine_has_work_from_the_first_item_to_the_last() -> None:
    now = 0.0
    admission = Admission(
        max_waiting_items=8, max_waiting_tokens=80, max_running_items=4, max_running_tokens=40,
        clock=lambda: now,
    )  # fmt: skip
    first = await admission.acquire(tokens=10, priority=Priority.SINGLE, client="a")
    second = await admission.acquire(tokens=10, priority=Priority.SINGLE, client="a")
    now = 1000.0
    first.release()
    assert admission.utilization == pytest.approx(1.0)
    second.release()
    now = 2000.0
    assert admission.utilization == pytest.approx(0.0, abs=1e-6)


async def test_prometheus_is_told() -> None:
    async with run_fake_service() as service:
        body = {"text": "1 + 1 = ?"}
        assert (await service.client.post("/classify/problem", json=body)).status_code == 200
        metrics = (await service.client.get("/metrics")).text
    (value,) = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("ncal_engine_utilization ")
    ]
    assert 0.0 < value < 1.0
