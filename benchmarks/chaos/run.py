"""The traffic, the order of events, and what came of both."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.chaos.events import Draw, Event
from benchmarks.chaos.supervisor import Supervisor
from benchmarks.soak import Traffic, Vitals, find_growth, read_vitals, warm_up

_SETTLE_S = 5.0
"""After an event that breaks connections: clients may still meet its consequences."""
_QUICK_S = 120.0
"""A run that is shorter warms up with less."""
_REFUSED = re.compile(r"answered 503|of \d+ (items|turns) failed|'(draining|engine-dead)'")
"""What the service may say while it, or its engine, ends."""
_DOWN = Vitals(0.0, 0.0, 0.0)


class Outcome(NamedTuple):
    """What a run has seen."""

    events: Counter[str]
    done: Counter[str]
    excused: Counter[str]
    """Acts that an event broke which may."""
    faults: list[str]
    vitals: list[Vitals]

    @property
    def growth(self) -> Vitals:
        return find_growth(self.vitals)


class ShakenTraffic(Traffic):
    """Clients that forgive a broken connection, and a documented refusal, while there is cause."""

    def __init__(self, supervisor: Supervisor, pause_s: float) -> None:
        super().__init__(supervisor.address, float("inf"), pause_s)
        self.excused: Counter[str] = Counter()
        self._excused_until = 0.0

    def finish(self) -> None:
        """Let each client end what it has begun."""
        self._end = time.monotonic()

    def begin_excuse(self) -> None:
        self._excused_until = float("inf")

    def end_excuse(self) -> None:
        self._excused_until = time.monotonic() + _SETTLE_S

    def note_failure(self, name: str, started: float, error: Exception) -> None:
        is_wrong = isinstance(error, AssertionError) and not _REFUSED.search(str(error))
        if started < self._excused_until and not is_wrong:
            self.excused[name] += 1
        else:
            super().note_failure(name, started, error)


async def run_chaos(
    supervisor: Supervisor, events: Sequence[Event], *, seconds: float, pause_s: float, seed: int
) -> Outcome:
    """Let events happen one after the other while the traffic runs."""
    items = 1000 if seconds > _QUICK_S else 100
    await warm_up(supervisor.address, items)
    traffic = ShakenTraffic(supervisor, pause_s)
    running = asyncio.create_task(traffic.run())
    draw = Draw(seed)
    draw.longest_s = min(10.0, seconds / 20)
    shaking = asyncio.create_task(_Events(supervisor, traffic, draw, items).happen(events, seconds))
    vitals: list[Vitals] = []
    while not running.done():
        await asyncio.wait((running,), timeout=min(5.0, max(1.0, seconds / 100)))
        vitals.append(_read(supervisor))
    await running
    return Outcome(await shaking, traffic.seen, traffic.excused, traffic.faults, vitals)


def _read(supervisor: Supervisor) -> Vitals:
    try:
        return read_vitals(supervisor.service)
    except OSError:  # it has ended, and is started again
        return _DOWN


class _Events:
    """Chooses what happens when."""

    def __init__(
        self, supervisor: Supervisor, traffic: ShakenTraffic, draw: Draw, items: int
    ) -> None:
        self._supervisor = supervisor
        self._traffic = traffic
        self._draw = draw
        self._items = items
        self._happened: Counter[str] = Counter()

    async def happen(self, events: Sequence[Event], seconds: float) -> Counter[str]:
        """What ends the process in the first quarter of the time; each kind at least once."""
        ending = [event for event in events if event.ends_process]
        lasting = [event for event in events if not event.ends_process]
        start = time.monotonic()
        pause_s = min(10.0, seconds / 40)
        try:
            await self._go_through(ending, pause_s, start + seconds / 5)
            await self._go_through(lasting, pause_s, start + seconds)
        finally:
            self._traffic.finish()
        return self._happened

    async def _go_through(self, events: Sequence[Event], pause_s: float, end: float) -> None:
        order: list[Event] = []
        rounds = 0
        while rounds == 0 or order or time.monotonic() < end:
            if not order:
                order = self._draw.sample(events, len(events))
                rounds += 1
            await asyncio.sleep(self._draw.uniform(0.5, 1.5) * pause_s)
            await self._happen(order.pop())

    async def _happen(self, event: Event) -> None:
        print(f"{time.strftime('%H:%M:%S')} {event.name}", flush=True)
        if event.breaks_connections:
            self._traffic.begin_excuse()
        try:
            await event.happen(self._supervisor, self._draw)
        except (AssertionError, OSError) as error:
            self._traffic.faults.append(f"{event.name}: {type(error).__name__} {error}")
        if event.ends_process:
            self._traffic.address = self._supervisor.address
            await warm_up(self._supervisor.address, self._items)
        self._happened[event.name] += 1
        if event.breaks_connections:
            self._traffic.end_excuse()
