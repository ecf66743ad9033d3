"""Dashboards as files: made from their code, and in a form Grafana can draw."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.__main__ import generate
from deploy.grafana.dashboard import GRID_WIDTH, Dashboard
from deploy.grafana.model_dashboard import MODEL
from deploy.grafana.service_dashboard import SERVICE
from tests.deploy.expressions import ROOT

PROVISIONING = ROOT / "deploy/grafana/provisioning"


@pytest.mark.parametrize("path", generate(), ids=lambda path: path.name)
def test_committed_file_is_what_its_source_makes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate()[path], "run `python -m deploy`"


def test_the_program_writes_them_all(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for path in generate():
        (copy.parent / path.relative_to(ROOT)).unlink()
    subprocess.run([sys.executable, "-m", "deploy"], cwd=tmp_path, check=True, timeout=60)
    for path, text in generate().items():
        assert (copy.parent / path.relative_to(ROOT)).read_text(encoding="utf-8") == text


def test_no_dashboard_lies_there_that_is_not_made() -> None:
    assert set((ROOT / "deploy/grafana/dashboards").iterdir()) <= set(generate())


@pytest.mark.parametrize("dashboard", [SERVICE, MODEL], ids=lambda dashboard: dashboard.uid)
def test_panels_have_their_own_id_and_place(dashboard: Dashboard) -> None:
    panels = dashboard.to_json()["panels"]
    inside = [panel for row in panels for panel in row.get("panels", ())]
    assert len({panel["id"] for panel in [*panels, *inside]}) == len(panels) + len(inside)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        cells = set(_cells(panel["gridPos"]))
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < GRID_WIDTH
        taken |= cells


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


@pytest.mark.parametrize("dashboard", [SERVICE, MODEL], ids=lambda dashboard: dashboard.uid)
def test_every_panel_explains_itself(dashboard: Dashboard) -> None:
    for row in dashboard.rows:
        titles = [panel.title for panel in row.panels]
        assert len(set(titles)) == len(titles)
        for panel in row.panels:
            assert panel.description.endswith((".", "?"))
            assert panel.unit


def test_provisioned_names_are_those_the_dashboards_use() -> None:
    [source] = _read("datasources/prometheus.yml")["datasources"]
    [provider] = _read("dashboards/ncal.yml")["providers"]
    assert source["type"] == "prometheus"
    assert provider["type"] == "file"
    for dashboard in (SERVICE, MODEL):
        [choice] = [
            variable
            for variable in dashboard.to_json()["templating"]["list"]
            if variable["name"] == "datasource"
        ]
        assert choice["query"] == source["type"]


def test_compose_puts_files_where_grafana_and_prometheus_look() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    mounts = {
        source: target
        for service in ("prometheus", "grafana")
        for source, target, *_ in (volume.split(":") for volume in services[service]["volumes"])
    }
    [provider] = _read("dashboards/ncal.yml")["providers"]
    assert provider["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    config_directory = Path(mounts["./deploy/prometheus/prometheus.yml"]).parent
    assert mounts["./deploy/prometheus/rules"] == str(config_directory / "rules")


def test_addresses_are_services_of_the_compose_stack() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    [discovery] = config["scrape_configs"][0]["dns_sd_configs"]
    assert set(discovery["names"]) <= services.keys()
    assert services["service"]["ports"][0].endswith(f":{discovery['port']}")
    [source] = _read("datasources/prometheus.yml")["datasources"]
    assert source["url"].removeprefix("http://").partition(":")[0] in services


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    [source] = _read("datasources/prometheus.yml")["datasources"]
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def _read(name: str) -> Any:
    return yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))


BOTH = pytest.mark.parametrize("dashboard", [SERVICE, MODEL], ids=lambda dashboard: dashboard.uid)


def read_panel_json(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Every panel as Grafana gets it, those of folded rows too."""
    panels = dashboard.to_json()["panels"]
    inside = [panel for row in panels for panel in row.get("panels", ())]
    return [panel for panel in [*panels, *inside] if panel["type"] != "row"]


@BOTH
def test_series_tell_their_mean_and_maximum_beside_the_picture(dashboard: Dashboard) -> None:
    for panel in read_panel_json(dashboard):
        if panel["type"] == "timeseries":
            legend = panel["options"]["legend"]
            assert (legend["displayMode"], legend["calcs"]) == ("table", ["mean", "max"])


@BOTH
def test_percentiles_are_called_p50_p95_p99(dashboard: Dashboard) -> None:
    for row in dashboard.rows:
        for panel in row.panels:
            assert not re.search(r"\d+ ?%|half", panel.title), panel.title
            for query in panel.queries:
                share = re.match(r"histogram_quantile\(([\d.]+)", query.expr)
                name = f"p{float(share[1]) * 100:.0f}" if share else ""
                told = f"{panel.title} {query.legend} {panel.description}"
                assert name in told, panel.title
                assert not re.search(r"\d %|half", query.legend)


@BOTH
def test_a_panel_has_one_unit(dashboard: Dashboard) -> None:
    """Times and counts of events never share an axis."""
    for row in dashboard.rows:
        for panel in row.panels:
            kinds = {"seconds" in query.expr for query in panel.queries}
            assert len(kinds) == 1, panel.title
            legends = {"per second" in query.legend for query in panel.queries}
            assert legends == {False}, panel.title


def test_what_is_down_is_not_green() -> None:
    panels = {panel["title"]: panel["fieldConfig"] for panel in read_panel_json(SERVICE)}
    assert find_colour(panels["Engines up"], 0) == "red"
    assert find_colour(panels["Engines up"], 2) == "green"
    assert find_colour(panels["Down"], 0) == "green"
    assert find_colour(panels["Down"], 1) == "red"
    assert find_colour(panels["Within 0.5 s"], 0.9) == "red"
    assert find_colour(panels["Within 0.5 s"], 1.0) == "green"


def test_an_idle_service_shows_words_and_not_nan() -> None:
    """Without traffic a burn is 0/0; promtool shows that this leaves it out (slo.test.yml)."""
    [overview, *_] = SERVICE.rows
    burns = [panel for panel in overview.panels if "ncal_burn" in panel.queries[0].expr]
    assert len(burns) == 2
    for panel in burns:
        assert re.search(r"max\(job_sli:ncal_burn:\S+ >= 0\)$", panel.queries[0].expr)
        assert panel.no_value == "no traffic"


def find_colour(field_config: dict[str, Any], value: float) -> str:
    steps = field_config["defaults"]["thresholds"]["steps"]
    passed = [step["color"] for step in steps if step["value"] is None or step["value"] <= value]
    colour: str = passed[-1]
    return colour


@BOTH
def test_starts_and_new_models_are_marked(dashboard: Dashboard) -> None:
    marks = {mark["name"]: mark for mark in dashboard.to_json()["annotations"]["list"]}
    assert set(marks) == {"Start", "New model"}
    assert marks["Start"]["useValueForTime"] == "on" and "* 1000" in marks["Start"]["expr"]


def test_rows_that_may_be_empty_are_folded() -> None:
    folded = {row["title"] for row in SERVICE.to_json()["panels"] if row.get("collapsed")}
    assert {title.split()[0] for title in folded} == {"vLLM", "GPU", "Bulk"}
