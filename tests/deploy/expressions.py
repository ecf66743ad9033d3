"""Every PromQL expression under deploy/, and every metric it may name."""

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Counter, Histogram

from deploy.grafana.model_dashboard import MODEL
from deploy.grafana.service_dashboard import SERVICE
from engine.openvino import StepMetrics
from service.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULE_FILES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
TARGET_LABELS = {"job", "instance"}
SUFFIXES = ("_total", "_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Expression:
    where: str
    expr: str
    legend: str = ""
    is_optional: bool = False
    """Its metrics are there with one of the engines or devices only."""

    def fill(self) -> "Expression":
        """Put values for Grafana's variables: everything, over the last minute."""
        filled = self.expr.replace("$__rate_interval", "1m")
        filled = re.sub(r"\$(instance|task)\b", ".+", filled)
        return replace(self, expr=filled)


@cache
def read_rules() -> list[dict[str, Any]]:
    """Return all rules, recording and alerting."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def read_recordings() -> list[Expression]:
    return [Expression(rule["record"], rule["expr"]) for rule in read_rules() if "record" in rule]


def read_alerts() -> list[Expression]:
    return [Expression(rule["alert"], rule["expr"]) for rule in read_rules() if "alert" in rule]


def read_panels() -> list[Expression]:
    """Return every query of every panel, and of every variable."""
    found = []
    for dashboard in (SERVICE, MODEL):
        for row in dashboard.rows:
            for panel in row.panels:
                where = f"{dashboard.uid}: {row.title}: {panel.title}"
                found += [
                    Expression(where, query.expr, query.legend, row.is_optional)
                    for query in panel.queries
                ]
        for variable in dashboard.variables:
            where = f"{dashboard.uid}: variable {variable.name}"
            expr = f"count by ({variable.name}) ({variable.metric})"
            found.append(Expression(where, expr, "{{" + variable.name + "}}"))
        for mark in dashboard.annotations:
            where = f"{dashboard.uid}: annotation {mark.title}"
            # A model is new for two minutes only.
            found.append(Expression(where, mark.expr, mark.text, not mark.value_is_time))
    return found


@cache
def service_metrics() -> dict[str, frozenset[str]]:
    """Return the labels of each series name of the service's registry and its engine's."""
    known = {}
    collectors = {
        **Metrics().registry._collector_to_names,
        **StepMetrics("m").registry._collector_to_names,
    }
    for collector, names in collectors.items():
        labels = frozenset(collector._labelnames)  # type: ignore[attr-defined]
        base = min(names, key=len)
        match collector:
            case Counter():
                known[base + "_total"] = labels
            case Histogram():
                known.update({base + "_sum": labels, base + "_count": labels})
                known[base + "_bucket"] = labels | {"le"}
            case _:
                known[base] = labels
    return known


@cache
def vllm_metrics() -> frozenset[str] | None:
    """Return vLLM's metric names without suffixes, read off its source; None if not installed."""
    package = find_spec("vllm")
    if package is None or not package.submodule_search_locations:
        return None
    source = Path(package.submodule_search_locations[0], "v1/metrics/loggers.py")
    names = re.findall(r'name="(vllm:\w+)"', source.read_text(encoding="utf-8"))
    return frozenset(strip_suffix(name) for name in names)


def strip_suffix(name: str) -> str:
    for suffix in SUFFIXES * 2:  # vllm:iteration_tokens_total is a histogram
        name = name.removesuffix(suffix)
    return name


def legend_labels(legend: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", legend))
