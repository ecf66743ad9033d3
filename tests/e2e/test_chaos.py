"""The chaos of `make chaos`, for seconds instead of half an hour: each kind of event once."""

import re
import sys

import pytest

from tests.e2e.service_process import run_module

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        sys.platform != "linux", reason="freezes and limits processes as Linux does"
    ),
]


def test_every_request_is_answered_or_refused_as_documented() -> None:
    done = run_module(
        "benchmarks.chaos", "--minutes", "0.1", "--seed", "1",
        "--pause-s", "30", "--max-growth-mib", "96",  # too short for more: caches fill
        timeout_s=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for event in ("kill", "stop", "freeze", "slow reader", "half requests", "no descriptors"):
        assert f"{event} 1" in done.stdout, done.stdout
    (traffic,) = re.findall(r"^done: (.*)$", done.stdout, re.M)
    for kind in ("ask", "batch", "stream", "dialogue", "talk", "send_nonsense", "leave"):
        assert f"{kind} " in traffic, done.stdout
