"""Write the files under deploy/ that are made from others: `python -m deploy`.

Run it from the root of the repository after a change of the dashboards' code or of the
Prometheus rules; a test fails as long as the files and their sources differ.
"""

import json
from pathlib import Path
from textwrap import indent

from deploy.grafana.dashboard import Dashboard
from deploy.grafana.model_dashboard import MODEL
from deploy.grafana.service_dashboard import SERVICE

_HERE = Path(__file__).parent

_RULE_HEAD = """\
# Made from deploy/prometheus/rules/*.yml by `python -m deploy`; edit those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ncal-serve
  labels:
    app.kubernetes.io/name: ncal-serve
spec:
  groups:
"""


_CONFIG_MAP = """\
# Made from deploy/grafana by `python -m deploy`; edit the code there.
apiVersion: v1
kind: ConfigMap
metadata:
  name: ncal-serve-dashboard-{name}
  labels:
    app.kubernetes.io/name: ncal-serve
    grafana_dashboard: "1"
data:
  ncal-{name}.json: |
{json}"""


def generate() -> dict[Path, str]:
    """Return the text of every generated file, by its path."""
    dashboards = _HERE / "grafana" / "dashboards"
    components = _HERE / "kubernetes" / "components"
    files = {components / "prometheus-operator" / "prometheus-rule.yaml": _operator_rule_text()}
    for name, dashboard in (("service", SERVICE), ("model", MODEL)):
        text = _dashboard_text(dashboard)
        files[dashboards / f"{name}.json"] = text
        config_map = _CONFIG_MAP.format(name=name, json=indent(text, "    "))
        files[components / "grafana-dashboards" / f"{name}.yaml"] = config_map
    return files


def _dashboard_text(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.to_json(), indent=2, ensure_ascii=False) + "\n"


def _operator_rule_text() -> str:
    """Return all rule groups as one resource of the Prometheus operator."""
    groups = []
    for path in sorted((_HERE / "prometheus" / "rules").glob("*.yml")):
        _, found, body = path.read_text(encoding="utf-8").partition("\ngroups:\n")
        if not found:
            raise ValueError(f"{path} has no line `groups:` after its comment")
        groups.append(body)
    return _RULE_HEAD + indent("\n".join(groups), "  ")


if __name__ == "__main__":
    for path, text in generate().items():
        path.write_text(text, encoding="utf-8")
