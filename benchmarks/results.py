"""What a measurement says, and the tables of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table of targets."""

    name: str
    ours: str
    peer: str = ""
    ratio: float
    """What the target is about: ours over the peer's; or, where `unit` is given, ours itself."""
    target: float
    lower_is_better: bool = False
    unit: str = ""
    runs: Sequence[float] = field(default_factory=tuple)
    """The value of each turn; `ratio` is their median."""
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.target if self.lower_is_better else self.ratio >= self.target

    def to_row(self) -> str:
        sign = "≤" if self.lower_is_better else "≥"
        value = f"{self.ratio:.2f}" if not self.unit else f"{self.ratio:.3g} {self.unit}"
        target = f"{sign} {self.target:g} {self.unit}".strip()
        verdict = "met" if self.is_met else "**missed**"
        spread = f" ({min(self.runs):.3g} to {max(self.runs):.3g})" if len(self.runs) > 1 else ""
        return (
            f"| {self.name} | {self.ours} | {self.peer} | {value}{spread} | {target} | {verdict} |"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}


def make_table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    head = "| measurement | NCAL Serve | compared with | ratio or value | target | |"
    return "\n".join([head, "|---|---|---|---|---|---|", *(each.to_row() for each in results)])


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One line of the table of systems: how fast one labels everything it is given."""

    system: str
    precision: str
    items_per_s: float
    share_of_peak: float
    """Of what the machine could do if it did nothing but the matrix products, at their best."""
    note: str = ""

    def to_row(self) -> str:
        return (
            f"| {self.system} | {self.precision} | {self.items_per_s:.0f} "
            f"| {self.share_of_peak:.0%} | {self.note} |"
        )


@dataclass(kw_only=True)
class Report:
    """All of one run; what a page shows, and what can be looked at again."""

    machine: Mapping[str, Any]
    results: list[Result] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"results": [result.to_json() for result in self.results]}

    def to_markdown(self) -> str:
        machine = self.machine
        peaks = ", ".join(f"{peak:.0f} in {name}" for name, peak in machine["gemm_gflops"].items())
        lines = [
            f"{machine['processor']}, {machine['cores']} cores, {machine['date']}. "
            f"Peak of a matrix product: {peaks} GFLOP/s. In brackets: lowest to highest of "
            f"{machine['turns']} turns.",
            "",
            make_table(self.results),
        ]
        if self.rates:
            lines += [
                "",
                "| system | precision | items/s | of the machine's peak | |",
                "|---|---|---|---|---|",
                *(rate.to_row() for rate in sorted(self.rates, key=lambda each: each.precision)),
            ]
        return "\n".join(lines)
