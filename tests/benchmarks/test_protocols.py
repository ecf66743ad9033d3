"""The benchmark of the protocols runs to its end, and its table."""

import subprocess
import sys

import pytest

from benchmarks.protocols import Cost, make_forms, make_rows, make_single_forms
from tests.service.fake_service import run_fake_service
from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment


@pytest.mark.slow
@pytest.mark.benchmark
def test_a_short_one_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.protocols", "--turns", "1", "--items", "64"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200,
        env=make_unmeasured_environment() | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| batches of 64")]
    assert len(rows) == 3
    assert done.stdout.count("| single items |") == 4


async def test_all_protocols_are_asked_the_same() -> None:
    text = "一加一等于多少？"
    async with run_fake_service() as service:
        for forms in (make_forms([text]), make_single_forms(text)):
            service.engine.scored.clear()
            for form in forms.values():
                assert (await service.client.post(form.path, json=form.body)).status_code == 200
            assert len(service.engine.scored) == len(forms)
            assert all(each == service.engine.scored[0] for each in service.engine.scored)


def test_the_ratio_is_that_of_turns() -> None:
    costs = {
        "NCAL Serve": [Cost(2.0, 100.0), Cost(4.0, 100.0)],
        "TEI": [Cost(2.0, 90.0), Cost(4.4, 95.0)],
        "vLLM": [Cost(2.4, 90.0), Cost(4.6, 95.0)],
    }
    own, tei, vllm = make_rows("singles", costs)
    assert own.endswith("| 3.00 ms | 1.00 (1 to 1) | 100 items/s |  |")
    assert "| 1.05 (1 to 1.1) |" in tei and tei.endswith("| met |")
    assert "| **missed** |" in vllm
