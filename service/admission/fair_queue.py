"""The order of waiting work: by priority, and within a priority fair between clients.

Pure data structure, no event loop, every operation O(1) amortised.

Between priorities: the highest one goes first, but each lower one that has work
waiting earns `LOWER_SHARE` of the tokens that pass it by, and spends them on its own
head before anything else. So no priority waits forever, and three lower ones together
cost the highest at most three sixteenths.

Between clients of one priority: deficit round robin by tokens (Shreedhar and Varghese
1995). A client with a thousand items waiting delays another's only item by `QUANTUM`
tokens, not by a thousand items.
"""

import asyncio
import enum
from collections import OrderedDict
from dataclasses import dataclass, field

LOWER_SHARE = 1 / 16
QUANTUM = 512


class Priority(enum.IntEnum):
    """Whose work goes first; lower runs first."""

    LIVE = 0
    SINGLE = 1
    BATCH = 2
    STREAM = 3


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter:
    """One item that waits for its turn."""

    tokens: int
    priority: Priority
    client: str
    since: float
    """When it began to wait, by the clock of the admission."""
    deadline: float | None
    bounded: bool
    """Whether it takes room of the bounded queue (streams wait outside of it)."""
    future: asyncio.Future[None]
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Flow:
    """What one client has waiting in one priority, in order of arrival."""

    deficit: int = QUANTUM
    tokens: int = 0
    waiters: OrderedDict[Waiter, None] = field(default_factory=OrderedDict)


@dataclass(slots=True, eq=False)
class _Level:
    """One priority: its flows in round-robin order, and the tokens it has earned."""

    credit: float = 0.0
    tokens: int = 0
    flows: OrderedDict[str, Flow] = field(default_factory=OrderedDict)

    def find_head(self) -> Waiter:
        """Return the next waiter by deficit round robin; the level must not be empty."""
        while True:
            client, flow = next(iter(self.flows.items()))
            waiter = next(iter(flow.waiters))
            if flow.deficit >= waiter.tokens:
                return waiter
            flow.deficit += QUANTUM
            self.flows.move_to_end(client)


_EMPTY = Flow()


class FairQueue:
    """Waiters in the order in which they should run."""

    def __init__(self) -> None:
        self._levels = [_Level() for _ in Priority]
        self._arrivals: OrderedDict[Waiter, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._arrivals)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._arrivals

    @property
    def oldest(self) -> Waiter | None:
        """The waiter that came first, whatever its turn."""
        return next(iter(self._arrivals), None)

    def find_flow(self, priority: Priority, client: str) -> Flow:
        """Return what a client has waiting; an empty flow if nothing."""
        return self._levels[priority].flows.get(client, _EMPTY)

    def estimate_ahead(self, priority: Priority, client: str) -> int:
        """Tokens that will run before an item that joins now, if nothing else joins.

        Of each other client's only as many as this client has waiting, and a quantum.
        """
        level = self._levels[priority]
        turns = (self.find_flow(priority, client).tokens + QUANTUM) * len(level.flows)
        higher = sum(above.tokens for above in self._levels[:priority])
        return higher + min(level.tokens, turns)

    def push(self, waiter: Waiter) -> None:
        """Let a waiter join the end of its client's flow."""
        flows = self._levels[waiter.priority].flows
        flow = flows.get(waiter.client)
        if flow is None:
            flow = flows[waiter.client] = Flow()
        flow.waiters[waiter] = None
        flow.tokens += waiter.tokens
        self._levels[waiter.priority].tokens += waiter.tokens
        self._arrivals[waiter] = None

    def find_head(self) -> Waiter | None:
        """Return the waiter whose turn it is, without taking it."""
        if not self._arrivals:
            return None
        first: Waiter | None = None
        for level in self._levels:
            if not level.flows:
                continue
            if first is None:
                first = level.find_head()
            elif level.credit >= QUANTUM:
                passed_by = level.find_head()
                if level.credit >= passed_by.tokens:
                    return passed_by
        return first

    def take(self, waiter: Waiter) -> None:
        """Take the head out to run: charge its client, credit the levels it passed by."""
        level = self._levels[waiter.priority]
        level.flows[waiter.client].deficit -= waiter.tokens
        if any(higher.flows for higher in self._levels[: waiter.priority]):
            level.credit -= waiter.tokens
        for lower in self._levels[waiter.priority + 1 :]:
            if lower.flows:
                lower.credit += waiter.tokens * LOWER_SHARE
        self.remove(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Let a waiter leave: it runs, gave up, or is too late."""
        level = self._levels[waiter.priority]
        flow = level.flows[waiter.client]
        del flow.waiters[waiter]
        flow.tokens -= waiter.tokens
        level.tokens -= waiter.tokens
        if not flow.waiters:
            del level.flows[waiter.client]
        if not level.flows:
            level.credit = 0.0
        del self._arrivals[waiter]
