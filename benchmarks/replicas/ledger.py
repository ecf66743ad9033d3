"""What became of each item: the books of a run, kept by its clients."""

import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.load.samples import percentile

CUT = "cut off"
"""A connection that ended before the answer did."""


@dataclass(kw_only=True)
class Phase:
    """What clients saw in one part of a run."""

    name: str
    started: float
    ended: float = 0.0
    right: int = 0
    """Items whose answer came and is that of the model alone."""
    single_s: list[float] = field(default_factory=list)
    """From the first attempt of a single item to its answer."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By kind of client and outcome, as `single 502`: what had to be sent again."""

    @property
    def items_per_s(self) -> float:
        return self.right / max(self.ended - self.started, 1e-9)

    def to_row(self) -> str:
        seen = ", ".join(f"{count} × {name}" for name, count in sorted(self.refusals.items()))
        tail_ms = 1e3 * percentile(self.single_s, 99)
        return f"| {self.name} | {self.items_per_s:.0f} | {tail_ms:.0f} ms | {seen or '–'} |"


class Ledger:
    """Counts items; whoever sends one notes what came of it."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.sent = 0
        self.wrong: list[str] = []
        """Kind of client and what differs; never a text."""
        self.resumed: Counter[str] = Counter()
        """Streams and live sessions that went on at another replica."""
        self.twice = 0
        """Items that one connection answered twice."""

    @property
    def right(self) -> int:
        return sum(phase.right for phase in self.phases)

    @property
    def lost(self) -> int:
        """Items that were sent and never answered rightly."""
        return self.sent - self.right

    @property
    def phase(self) -> Phase:
        return self.phases[-1]

    def begin(self, name: str) -> Phase:
        """End the part that runs and begin another."""
        self.end()
        self.phases.append(Phase(name=name, started=time.monotonic()))
        return self.phase

    def end(self) -> None:
        """End the part that runs."""
        if self.phases and not self.phase.ended:
            self.phase.ended = time.monotonic()

    def note_answer(self, kind: str, is_right: bool) -> None:
        """An item was answered; a wrong answer is one too many."""
        if is_right:
            self.phase.right += 1
        else:
            self.wrong.append(f"{kind}, in “{self.phase.name}”")

    def note_refusal(self, kind: str, outcome: str) -> None:
        """Something was not answered and is sent again."""
        self.phase.refusals[f"{kind} {outcome}"] += 1
