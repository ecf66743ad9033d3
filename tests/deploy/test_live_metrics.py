"""Every expression of rules and dashboards, evaluated by Prometheus over the real service."""

import math
import shutil
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.deploy.expressions import (
    Expression,
    legend_labels,
    read_alerts,
    read_panels,
    read_recordings,
)
from tests.deploy.live_stack import run_prometheus, send_light_load
from tests.deploy.promql import find_names
from tests.e2e.service_process import start_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOAD_TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a Prometheus that has seen the service work until all panels show something."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: the package prometheus)")
    directory = tmp_path_factory.mktemp("stack")
    with (
        # Every probe runs a canary, however much other work has just succeeded; and a Redis that
        # nobody answers for has metrics of its own.
        start_service(
            directory, "--canary-cache-s", "0", "--redis-url", "redis://127.0.0.1:1"
        ) as service,
        run_prometheus(directory, program, service.url) as url,
        httpx.Client(base_url=url, timeout=30.0) as client,
    ):
        end = time.monotonic() + LOAD_TIMEOUT_S
        expected = read_expected()
        while time.monotonic() < end and not all(_has_data(client, each) for each in expected):
            send_light_load(service.url)
            time.sleep(1.0)
        yield client


def read_expected() -> list[Expression]:
    """All that must show something over the embedded engine."""
    every = (each.fill() for each in (*read_recordings(), *read_panels()))
    return [each for each in every if not each.is_optional]


def _query(client: httpx.Client, expression: Expression) -> list[dict[str, Any]]:
    answer = client.post("/api/v1/query", data={"query": expression.expr})
    assert answer.is_success, f"{expression.where}: {answer.text}"
    series: list[dict[str, Any]] = answer.json()["data"]["result"]
    return series


def _has_data(client: httpx.Client, expression: Expression) -> bool:
    """Whether at least one series has a number: 0/0 is none."""
    return any(math.isfinite(float(one["value"][1])) for one in _query(client, expression))


def test_every_recording_rule_and_panel_returns_data(prometheus: httpx.Client) -> None:
    without = [
        (each.where, each.expr) for each in read_expected() if not _has_data(prometheus, each)
    ]
    assert not without


def test_every_series_of_a_panel_has_the_labels_of_its_legend(prometheus: httpx.Client) -> None:
    for panel in (each.fill() for each in read_panels()):
        for series in _query(prometheus, panel):
            missing = legend_labels(panel.legend) - series["metric"].keys()
            assert not missing, f"{panel.where}: {series['metric']} lacks {missing}"


def test_every_alert_can_be_evaluated_and_names_metrics_that_exist(
    prometheus: httpx.Client,
) -> None:
    known = set(prometheus.get("/api/v1/label/__name__/values").json()["data"])
    for alert in read_alerts():
        names = find_names(alert.expr).metrics
        assert names <= known, f"{alert.where}: {names - known}"
        _query(prometheus, alert)


def test_prometheus_finds_no_fault_in_the_rules_it_evaluates(prometheus: httpx.Client) -> None:
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(read_recordings()) + len(read_alerts())
    for rule in rules:
        assert rule["health"] == "ok", rule


def test_drift_is_near_what_the_predictions_say(prometheus: httpx.Client) -> None:
    """PSI worked out here from the raw series agrees with the recording rules."""
    drift = _by_labels(prometheus, "task:ncal_label_drift:psi1d")
    share = _by_labels(prometheus, "task_label:ncal_predictions:share1d")
    prior = _by_labels(prometheus, "ncal_training_prior")
    assert drift and share.keys() == prior.keys()
    for (task, _), psi in drift.items():
        labels = [key for key in prior if key[0] == task]
        assert sum(share[key] for key in labels) == pytest.approx(1.0)
        assert min(share[key] for key in labels) > 0.0
        by_hand = sum(
            (share[key] - prior[key]) * math.log(share[key] / prior[key]) for key in labels
        )
        assert psi == pytest.approx(by_hand, rel=0.2, abs=0.02)  # one evaluation may lie between


def _by_labels(client: httpx.Client, metric: str) -> dict[tuple[str, str], float]:
    return {
        (one["metric"]["task"], one["metric"].get("label", "")): float(one["value"][1])
        for one in _query(client, Expression(metric, metric))
    }
