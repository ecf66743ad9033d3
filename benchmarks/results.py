"""What a measurement says, and the table of all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of each measurement; seconds and counts."""

    turns: int
    batch_items: int
    stream_items: int
    load_s: float
    idle_requests: int


FULL = Size(turns=3, batch_items=2048, stream_items=20_000, load_s=15.0, idle_requests=100)
QUICK = Size(turns=1, batch_items=64, stream_items=200, load_s=2.0, idle_requests=5)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table."""

    name: str
    ours: str
    peer: str
    ratio: float
    """Ours over the peer's; or, where `unit` is given, ours itself."""
    target: float
    lower_is_better: bool = False
    unit: str = ""
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.target if self.lower_is_better else self.ratio >= self.target

    def to_row(self) -> str:
        sign = "≤" if self.lower_is_better else "≥"
        ratio = f"{self.ratio:.2f} {self.unit}".strip()
        verdict = "met" if self.is_met else "missed"
        return (
            f"| {self.name} | {self.ours} | {self.peer} | {ratio} "
            f"| {sign} {self.target:g} | {verdict} |"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}


def make_table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    head = "| Measurement | NCAL Serve | compared with | ratio or value | target | |"
    return "\n".join([head, "|---|---|---|---|---|---|", *(each.to_row() for each in results)])


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; 0 if there is no value."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some runs."""
    return f"{min(values):.3g} to {max(values):.3g}"
