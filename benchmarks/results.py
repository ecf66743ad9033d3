"""What a measurement says, and the table of all of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


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
