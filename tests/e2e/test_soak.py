"""The soak of `make soak`, for seconds instead of half an hour."""

import subprocess
import sys

import pytest

from service.settings import Settings
from tests.e2e.service_process import ROOT, make_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_mixed_traffic_breaks_nothing_and_memory_stays_flat() -> None:
    checkpoint = str(Settings().checkpoint[0])
    command = [
        sys.executable, "-m", "benchmarks.soak", "--minutes", "0.1", "--checkpoint", checkpoint,
        "--max-growth-mib", "24",  # it was 2 where this was written
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=ROOT, env=make_environment(), capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("ask", "batch", "stream", "dialogue", "talk", "send_nonsense", "leave"):
        assert f"{kind} " in done.stdout, done.stdout
