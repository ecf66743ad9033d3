"""The replicas of `python -m benchmarks.replicas` behind a real HAProxy, for seconds."""

import re

import pytest

from benchmarks.replicas.balancer import find_haproxy
from tests.e2e.service_process import run_module

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_replicas_come_and_go_and_no_item_is_lost_or_wrong() -> None:
    if find_haproxy() is None:
        pytest.skip("no HAProxy (Debian, Ubuntu: apt install haproxy)")
    done = run_module(
        "benchmarks.replicas", "--seconds", "2", "--clients", "4",
        "--pause-s", "1.2", "--texts", "32", "--renew", "a", "--least-share", "0",
        timeout_s=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (sent, right) = re.findall(
        r"(\d+) items sent, (\d+) answered rightly, 0 wrong, 0 lost", done.stdout
    )[0]
    assert int(sent) == int(right) > 100
    gone_on = re.findall(r"(\d+) (?:streams|live dialogues)", done.stdout)
    assert sum(map(int, gone_on)) > 0
