"""A dashboard, and its JSON in the form of Grafana's dashboard model (schema version 39)."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.grafana.panels import Annotation, Kind, Panel, Query, Row, Variable

Json = dict[str, Any]

GRID_WIDTH = 24
HEIGHTS: dict[Kind, int] = {"timeseries": 9, "stat": 4, "heatmap": 9, "table": 6, "bargauge": 9}
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    def to_json(self) -> Json:
        """Return the dashboard in the form Grafana provisions and imports."""
        return {
            "annotations": {"list": list(map(_annotation_json, self.annotations))},
            "description": self.description,
            "editable": False,
            "graphTooltip": 1,
            "links": [
                {"type": "dashboards", "tags": ["ncal"], "title": "NCAL Serve", "asDropdown": False}
            ],
            "panels": _lay_out(self.rows),
            "refresh": "15s",
            "schemaVersion": 39,
            "tags": ["ncal"],
            "templating": {"list": [_datasource_json(), *map(_variable_json, self.variables)]},
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
        }


def _lay_out(rows: Sequence[Row]) -> list[Json]:
    """Give every row and panel an id and its place in the grid, top to bottom."""
    laid: list[Json] = []
    ids = itertools.count(1)
    y = 0
    for row in rows:
        head = _row_json(row, id=next(ids), y=y)
        panels = [
            {"id": next(ids), "gridPos": place, **_panel_json(panel)}
            for panel, place in _place_panels(row, y + 1)
        ]
        laid.append(head)
        # A folded row holds its panels; they take no room until it is opened.
        (head["panels"] if row.is_optional else laid).extend(panels)
        y = 1 + (y if row.is_optional else max(_find_bottom(each) for each in panels) - 1)
    return laid


def _place_panels(row: Row, y: int) -> Iterator[tuple[Panel, Json]]:
    width = GRID_WIDTH // row.columns
    for start in range(0, len(row.panels), row.columns):
        line = row.panels[start : start + row.columns]
        height = max(HEIGHTS[panel.kind] for panel in line)
        for column, panel in enumerate(line):
            yield panel, {"h": height, "w": width, "x": column * width, "y": y}
        y += height


def _find_bottom(panel: Json) -> int:
    bottom: int = panel["gridPos"]["y"] + panel["gridPos"]["h"]
    return bottom


def _row_json(row: Row, *, id: int, y: int) -> Json:
    place = {"h": 1, "w": GRID_WIDTH, "x": 0, "y": y}
    json: Json = {"id": id, "type": "row", "title": row.title, "panels": []}
    json |= {"collapsed": row.is_optional, "gridPos": place}
    return json | ({"repeat": row.repeat} if row.repeat else {})


def _panel_json(panel: Panel) -> Json:
    steps: list[Json] = [{"color": panel.base_colour, "value": None}]
    steps += [{"color": colour, "value": bound} for bound, colour in panel.thresholds]
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": _drawing(panel),
        **({"noValue": panel.no_value} if panel.no_value else {}),
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
                "legend": {
                    "displayMode": "table",
                    "placement": "bottom",
                    "showLegend": True,
                    "calcs": ["mean", "max"],
                },
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


def _annotation_json(annotation: Annotation) -> Json:
    return {
        "name": annotation.title,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": annotation.colour,
        "expr": annotation.expr,
        "step": "60s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "useValueForTime": "on" if annotation.value_is_time else False,
    }
