"""What a dashboard is made of: queries, panels, rows, variables, annotations."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "heatmap", "table", "bargauge"]


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
    """(lower bound, colour), ascending."""
    base_colour: str = "green"
    """Below the first bound."""
    no_value: str = ""
    """Shown instead of "No data", where that is nothing to worry about."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels of one kind side by side under a headline."""

    title: str
    panels: tuple[Panel, ...]
    columns: int = 3
    """Panels abreast; further panels go to the next line."""
    repeat: str | None = None
    """Variable for each of whose values the row appears once."""
    is_optional: bool = False
    """Folded at first: its metrics are there with one of the engines or devices only."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label, all chosen at first."""

    name: str
    title: str
    metric: str
    """Series whose label of the variable's name gives the values."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """Moments that are marked in every panel."""

    title: str
    expr: str
    """PromQL whose series are marked where they are there."""
    text: str
    """What is told of a moment; `{{label}}` stands for a label's value."""
    colour: str
    value_is_time: bool = False
    """The moment is the value, in milliseconds since 1970, and not when it was seen."""
