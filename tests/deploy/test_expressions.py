"""What can be said of rules and dashboards without a Prometheus."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.errors import HTTP_STATUS
from tests.deploy.expressions import (
    ROOT,
    RULE_FILES,
    TARGET_LABELS,
    Expression,
    legend_labels,
    read_alerts,
    read_panels,
    read_recordings,
    read_rules,
    service_metrics,
    strip_suffix,
    vllm_metrics,
)
from tests.deploy.promql import find_names

EVERY = [*read_recordings(), *read_alerts(), *read_panels()]
# The Python client's own, and Prometheus' word on whether a scrape went well.
PROCESS = {"start_time_seconds", "resident_memory_bytes", "cpu_seconds_total"}
GPU = {"GPU_UTIL", "FB_USED", "POWER_USAGE", "GPU_TEMP"}
"""Of NVIDIA's DCGM exporter, from its default set of counters."""
BULK = {"ray_ncal_bulk_rows_total", "ray_ncal_bulk_parts_total"}
"""Of the workers of bulk, as Ray shows them: a test of the pool scrapes them."""
FOREIGN = (
    {"up"} | {f"process_{name}" for name in PROCESS} | {f"DCGM_FI_DEV_{n}" for n in GPU} | BULK
)
VLLM_LABELS = {"model_name", "engine", "finished_reason", "le"}


def _id(expression: Expression) -> str:
    return expression.where


@pytest.mark.parametrize("expression", EVERY, ids=_id)
def test_expression_names_only_metrics_that_exist(expression: Expression) -> None:
    own = service_metrics()
    recorded = {rule.where for rule in read_recordings()}
    vllm = vllm_metrics()
    metrics = find_names(expression.expr).metrics
    assert metrics
    for metric in metrics:
        if metric.startswith("vllm:"):
            assert vllm is None or strip_suffix(metric) in vllm, metric
        else:
            assert metric in own.keys() | recorded | FOREIGN, metric


@pytest.mark.parametrize("expression", EVERY, ids=_id)
def test_expression_names_only_labels_its_metrics_have(expression: Expression) -> None:
    own = service_metrics()
    names = find_names(expression.expr)
    available = set(TARGET_LABELS)
    for metric, labels in names.selectors:
        if metric in own:
            assert labels <= own[metric] | TARGET_LABELS, (metric, labels)
        available |= _labels_of(metric)
    assert names.grouping <= available
    assert legend_labels(expression.legend) <= names.grouping | {"task", "instance"}


def _labels_of(metric: str) -> set[str]:
    """Return the labels that a metric, raw or recorded, can have beside its target's."""
    if metric.startswith("vllm:"):
        return VLLM_LABELS
    if metric in BULK:
        return {"task", "outcome"}
    if metric.startswith("DCGM_"):
        return {"gpu", "Hostname"}
    own = service_metrics()
    if metric in own:
        return set(own[metric])
    level = metric.split(":")[0]
    return set(level.split("_"))


def test_failed_items_are_those_with_a_server_error() -> None:
    failed = "|".join(sorted(error.slug for error, status in HTTP_STATUS.items() if status >= 500))
    spent = [rule for rule in read_recordings() if rule.where == "job_sli:ncal_spent:rate5m"]
    assert [f'outcome=~"{failed}"' in rule.expr for rule in spent].count(True) == 1


def test_scrape_configuration_finds_the_rules_and_names_their_job() -> None:
    path = ROOT / "deploy/prometheus/prometheus.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = {file for pattern in config["rule_files"] for file in path.parent.glob(pattern)}
    assert found == set(RULE_FILES)
    assert config["scrape_configs"][0]["job_name"] == "ncal-serve"


def test_each_alert_says_how_bad_and_what() -> None:
    alerts = [rule for rule in read_rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_each_alert_leads_to_its_section_of_the_handbook() -> None:
    for rule in read_rules():
        if "alert" in rule:
            page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            headlines = re.findall(r"^### (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
            [headline] = [line for line in headlines if make_anchor(line) == anchor]
            assert f"`{rule['alert']}`" in headline


def make_anchor(headline: str) -> str:
    """As GitHub makes it: in small letters, without punctuation, joined by hyphens."""
    return re.sub(r"[^\w\- ]", "", headline.lower()).replace(" ", "-")


def test_each_alert_has_a_unit_test_and_a_section_in_the_handbook() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "deploy/prometheus/tests").glob("*.test.yml")
    )
    handbook = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    for alert in read_alerts():
        assert f"alertname: {alert.where}\n" in tests
        assert f"`{alert.where}`" in handbook


@pytest.mark.slow
def test_promtool_accepts_the_configuration_and_its_unit_tests_pass() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: the package prometheus)")
    directory = ROOT / "deploy/prometheus"
    unit_tests = [str(path) for path in sorted(directory.glob("tests/*.test.yml"))]
    assert unit_tests
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", *unit_tests]):
        done = subprocess.run(
            [promtool, *arguments], cwd=directory, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_promtool_accepts_what_the_collector_scrapes(tmp_path: Path) -> None:
    """The collector itself cannot be had as a package; its receiver takes Prometheus' own form."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: the package prometheus)")
    collector = yaml.safe_load((ROOT / "deploy/opentelemetry/collector.yml").read_text("utf-8"))
    file = tmp_path / "scrape.yml"
    file.write_text(yaml.safe_dump(collector["receivers"]["prometheus"]["config"]))
    done = subprocess.run(
        [promtool, "check", "config", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_accepts_the_routes_and_each_severity_has_one() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed (Debian: the package prometheus-alertmanager)")
    file = "deploy/alertmanager/alertmanager.yml"
    checked = subprocess.run(
        [amtool, "check-config", file], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    routes = [amtool, "config", "routes", "test", f"--config.file={file}"]
    for severity in ("page", "ticket"):
        label = f"severity={severity}"
        done = subprocess.run(
            [*routes, label], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == "nobody\n", done.stderr


def test_alerts_that_silence_others_exist() -> None:
    text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text(encoding="utf-8")
    names = {rule["alert"] for rule in read_rules() if "alert" in rule}
    config = yaml.safe_load(text)
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.fullmatch(r'alertname=~?"(.*)"', matcher)
            assert pattern and any(re.fullmatch(pattern[1], name) for name in names), matcher


def test_prometheus_sends_alerts_where_compose_runs_the_alertmanager() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    [manager] = config["alerting"]["alertmanagers"]
    [target] = manager["static_configs"][0]["targets"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    assert services["alertmanager"]["ports"][0].endswith(":" + target.removeprefix("alertmanager:"))
