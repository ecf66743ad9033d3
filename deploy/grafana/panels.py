"""Panels and rows, and the JSON of Grafana's dashboard model (schema version 39) for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "heatmap", "table", "bargauge"]

GRID_WIDTH = 24
HEIGHTS: dict[Kind, int] = {"timeseries": 8, "stat": 4, "heatmap": 8, "table": 6, "bargauge": 8}
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, kw_only=True)
class Query:
    expr: str
    """PromQL; may use `$__rate_interval` and the dashboard's variables."""
    legend: str = ""
    """Name of each series; `{{label}}` stands for a label's value."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    description: str
    """What the panel shows and what to think of it: the "i" in its corner."""
    queries: tuple[Query, ...]
    unit: str
    """Id of a Grafana unit: `s`, `percentunit`, `short`, …"""
    kind: Kind = "timeseries"
    stacked: bool = False
    thresholds: tuple[tuple[float, str], ...] = ()
    """(lower bound, colour), ascending; below the first bound the panel is green."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels of one kind side by side under a headline."""

    title: str
    panels: tuple[Panel, ...]
    columns: int = 3
    """Panels abreast; further panels go to the next line."""
    repeat: str | None = None
    """Variable for each of whose values the row appears once."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label, all chosen at first."""

    name: str
    title: str
    metric: str
    """Series whose label of the variable's name gives the values."""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def to_json(self) -> Json:
        """Return the dashboard in the form Grafana provisions and imports."""
        return {
            "annotations": {"list": []},
            "description": self.description,
            "editable": False,
            "graphTooltip": 1,
            "links": [
                {"type": "dashboards", "tags": ["ncal"], "title": "NCAL Serve", "asDropdown": False}
            ],
            "panels": _lay_out(self.rows),
            "refresh": "30s",
            "schemaVersion": 39,
            "tags": ["ncal"],
            "templating": {"list": [_datasource_json(), *map(_variable_json, self.variables)]},
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
        }


def _lay_out(rows: Sequence[Row]) -> list[Json]:
    """Give every row and panel an id and its place in the grid, top to bottom."""
    laid: list[Json] = []
    y = 0
    for row in rows:
        laid.append(_row_json(row, id=len(laid) + 1, y=y))
        y += 1
        width = GRID_WIDTH // row.columns
        for start in range(0, len(row.panels), row.columns):
            line = row.panels[start : start + row.columns]
            height = max(HEIGHTS[panel.kind] for panel in line)
            for column, panel in enumerate(line):
                place = {"h": height, "w": width, "x": column * width, "y": y}
                laid.append({"id": len(laid) + 1, "gridPos": place, **_panel_json(panel)})
            y += height
    return laid


def _row_json(row: Row, *, id: int, y: int) -> Json:
    place = {"h": 1, "w": GRID_WIDTH, "x": 0, "y": y}
    json: Json = {"id": id, "type": "row", "title": row.title, "collapsed": False, "panels": []}
    return {**json, "gridPos": place, **({"repeat": row.repeat} if row.repeat else {})}


def _panel_json(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": bound} for bound, colour in panel.thresholds]
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": _drawing(panel),
        **({"color": {"mode": "thresholds"}} if panel.kind == "bargauge" else {}),
    }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [_query_json(query, panel, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        **({"transformations": _LABELS_TO_COLUMNS} if panel.kind == "table" else {}),
    }


def _query_json(query: Query, panel: Panel, index: int) -> Json:
    formats = {"heatmap": "heatmap", "table": "table"}
    now_only = panel.kind in ("stat", "table", "bargauge")
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": formats.get(panel.kind, "time_series"),
        "instant": now_only,
        "range": not now_only,
    }


def _drawing(panel: Panel) -> Json:
    """How a time series is drawn; other kinds have nothing to choose here."""
    if panel.kind != "timeseries":
        return {}
    return {
        "lineWidth": 1,
        "fillOpacity": 60 if panel.stacked else 8,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"},
    }


def _options(panel: Panel) -> Json:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {"reduceOptions": last, "colorMode": "value", "graphMode": "none"}
        case "heatmap":
            return {
                "calculate": False,
                "yAxis": {"unit": panel.unit},
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
                "cellValues": {"unit": "short"},
                "tooltip": {"mode": "single", "yHistogram": False},
            }
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "gradient"}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}


_LABELS_TO_COLUMNS: list[Json] = [
    {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}
]


def _datasource_json() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }


def _variable_json(variable: Variable) -> Json:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }
