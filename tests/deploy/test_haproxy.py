"""The balancer's configuration: HAProxy takes it, and it is true to the service's own bounds."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import uvicorn

from benchmarks.replicas.balancer import find_haproxy, make_environment
from service.settings import Settings
from tests.deploy.expressions import ROOT

FOLDER = ROOT / "deploy/haproxy"
CONFIGURATION = (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def read_timeout_s(name: str) -> float:
    [(value, unit)] = re.findall(rf"^ *timeout {name} (\d+)(ms|s|m)$", CONFIGURATION, re.M)
    return float(value) * UNITS[unit]


def test_haproxy_takes_it_without_a_warning(tmp_path: Path) -> None:
    program = find_haproxy()
    if program is None:
        pytest.skip("no HAProxy (Debian, Ubuntu: apt install haproxy)")
    files = ("haproxy.cfg", "replicas.cfg")
    command = [program, "-c", *(word for name in files for word in ("-f", str(FOLDER / name)))]
    environment = os.environ | make_environment("127.0.0.1:8000", tmp_path / "orders")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_service_gives_its_own_answer_before_the_balancer_gives_up() -> None:
    settings = Settings()
    assert read_timeout_s("server") > settings.max_request_timeout_s
    assert read_timeout_s("client") > settings.stream_idle_timeout_s
    assert read_timeout_s("tunnel") > settings.live_idle_timeout_s
    assert read_timeout_s("http-request") > settings.head_timeout_s
    assert read_timeout_s("check") > settings.canary_timeout_s


def test_no_request_goes_to_a_connection_that_the_service_may_just_close() -> None:
    idle_s = uvicorn.Config(app="", log_config=None).timeout_keep_alive
    assert read_timeout_s("http-keep-alive") < idle_s


def test_only_what_no_replica_has_taken_is_sent_again() -> None:
    [retried] = re.findall(r"^ *retry-on (.*)$", CONFIGURATION, re.M)
    assert retried.split() == ["conn-failure", "503"]


def test_a_stop_waits_for_what_is_under_way_as_the_service_does() -> None:
    [wait_s] = re.findall(r"^ *hard-stop-after (\d+)s$", CONFIGURATION, re.M)
    assert float(wait_s) > Settings().drain_timeout_s


def test_metrics_and_liveness_of_a_replica_are_not_shown() -> None:
    [hidden] = re.findall(
        r"^ *http-request return status 404 if \{ path (.*) \}$", CONFIGURATION, re.M
    )
    assert hidden.split() == ["/metrics", "/health/live"]
