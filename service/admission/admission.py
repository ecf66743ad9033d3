"""Who may use the engine, and when: the only queue in front of it.

Running work is bounded by items and tokens, and so is waiting work. All of it, single,
batch or stream, passes here item by item, so a batch gets no room that singles do not.

A full room refuses at once, and so does a wait that would be too long for somebody who
sits at a screen: `max_wait_s` bounds what a live or single item may expect, so those that
are accepted are answered in time however much is sent. Streams wait outside the bounded
room: whoever calls with `wait_for_room` reads no more until it is served, so its own
window bounds it.
"""

import asyncio
import math
import time
from collections.abc import Callable

from service.admission.drain_rate import DrainRate
from service.admission.fair_queue import FairQueue, Priority, Waiter
from service.admission.permit import Permit
from service.admission.utilization import Utilization
from service.admission.waiting_room import Room
from service.errors import DeadlineExceeded, Draining, EngineDead, Overloaded, ServiceError

_LONGEST_RETRY_S = 60.0


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the work could start")


def _shutting_down() -> Draining:
    return Draining("the service is shutting down; send this to another replica")


def _engine_died() -> EngineDead:
    return EngineDead("the engine has died; send this to another replica")


def _dropped() -> Draining:
    return Draining("this checkpoint is being dropped; ask again, or another one")


class Admission:
    """A bounded, fair queue in front of the engine; used from one event loop.

    `max_wait_s` is the longest wait a live or single item is accepted for, by the measured
    rate. `clock` returns seconds and gives the time base of every deadline.
    """

    def __init__(
        self,
        *,
        max_waiting_items: int,
        max_waiting_tokens: int,
        max_running_items: int,
        max_running_tokens: int,
        max_wait_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if min(max_running_items, max_running_tokens) < 1:
            raise ValueError("the limits of running work must be at least 1")
        self._room = Room(max_waiting_items, max_waiting_tokens)
        self._max_wait_s = max_wait_s
        self._max_running_items = max_running_items
        self._max_running_tokens = max_running_tokens
        self._clock = clock
        self._queue = FairQueue()
        self._waiting_tokens = 0
        self._running_items = 0
        self._running_tokens = 0
        self._rate = DrainRate(least_tokens=max_running_tokens)
        self._utilization = Utilization(clock())
        self.turnover = 0
        """Changes whenever somebody who was refused might now find room."""
        self.leaving = asyncio.Event()
        """Set when what lasts long should end or go elsewhere; from `draining` on at the latest."""
        self.draining = asyncio.Event()
        """Set once nothing more is admitted."""
        self._make_farewell: Callable[[], ServiceError] = _shutting_down
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def farewell(self) -> ServiceError:
        """What whoever comes after `draining` is told."""
        return self._make_farewell()

    @property
    def waiting_items(self) -> int:
        return len(self._queue)

    @property
    def waiting_tokens(self) -> int:
        return self._waiting_tokens

    @property
    def running_items(self) -> int:
        return self._running_items

    @property
    def running_tokens(self) -> int:
        return self._running_tokens

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return self._idle.is_set()

    async def wait_until_idle(self) -> None:
        """Return when nothing waits or runs; by the time the caller goes on there may be work."""
        await self._idle.wait()

    @property
    def oldest_wait_s(self) -> float:
        """Age of the oldest waiter in seconds; 0 if none waits."""
        oldest = self._queue.oldest
        return 0.0 if oldest is None else self._clock() - oldest.since

    @property
    def utilization(self) -> float:
        """Share of the last moments in which the engine had work, 0 to 1."""
        return self._utilization.read(self._clock())

    async def acquire(
        self,
        *,
        tokens: int,
        priority: Priority,
        client: str,
        deadline: float | None = None,
        wait_for_room: bool = False,
    ) -> Permit:
        """Wait for leave to run one item of so many prompt tokens.

        Raises Overloaded at once when there is no room to wait, or a live or single item
        would wait too long (never with `wait_for_room`), DeadlineExceeded when `deadline`
        comes first, Draining after `drain`. An item larger than the running limit runs
        alone.
        """
        self.check_open()
        now = self._clock()
        if deadline is not None and deadline <= now:
            raise _too_late()
        cost = min(tokens, self._max_running_tokens)
        if not self._queue and self._fits(cost):
            self._start(cost)
            return Permit(self._finish, cost, 0.0)
        if not wait_for_room:
            self._check_room(1, cost, priority, client)
            self._check_wait(priority, client)
        return await self._wait(
            Waiter(
                tokens=cost,
                priority=priority,
                client=client,
                since=now,
                deadline=deadline,
                bounded=not wait_for_room,
                future=asyncio.get_running_loop().create_future(),
            )
        )

    def check_room(
        self,
        *,
        items: int,
        tokens: int,
        priority: Priority = Priority.BATCH,
        client: str = "",
    ) -> None:
        """Raise as `acquire` would for so many items now: Overloaded, or Draining.

        Nothing is set aside: whoever asks should acquire before the event loop turns.
        """
        self.check_open()
        if not self._queue:
            items -= self._max_running_items - self._running_items
            tokens -= self._max_running_tokens - self._running_tokens
        if items > 0 or tokens > 0:
            self._check_room(max(items, 1), max(tokens, 0), priority, client)
            self._check_wait(priority, client)

    def check_size(self, *, items: int, tokens: int) -> None:
        """Raise BodyTooLarge when so many items could not be taken however empty it is here."""
        self._room.check_size(items, tokens, self._max_running_items, self._max_running_tokens)

    async def drain(self, timeout_s: float) -> None:
        """Admit nothing more and wait until all that was admitted has finished.

        What still waits after `timeout_s` leaves with Draining; what runs then is left
        to the caller.
        """
        self.close()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            self._fail_waiting()

    def retire(self) -> None:
        """Its model is to be dropped: what lasts long should go elsewhere; the rest is admitted."""
        self._make_farewell = _dropped
        self.leaving.set()

    def close(self) -> None:
        """Admit nothing more."""
        self.leaving.set()
        self.draining.set()

    def abandon(self) -> None:
        """The engine has died: all that waits, and all that comes, leaves with EngineDead."""
        self._make_farewell = _engine_died
        self.close()
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        while (waiter := self._queue.oldest) is not None:
            self._fail(waiter, self.farewell)

    def check_open(self) -> None:
        """Raise Draining, or EngineDead, when nothing more is admitted."""
        if self.draining.is_set():
            raise self.farewell

    def _check_room(self, items: int, tokens: int, priority: Priority, client: str) -> None:
        if not self._room.has_room(self._queue.find_flow(priority, client), items, tokens):
            raise self._make_refusal("the queue is full; try again later", self._room.tokens)

    def _check_wait(self, priority: Priority, client: str) -> None:
        if priority > Priority.SINGLE:
            return
        ahead = self._queue.estimate_ahead(priority, client)
        wait_s = self._rate.estimate_s(ahead)
        if wait_s is not None and wait_s > self._max_wait_s:
            raise self._make_refusal("the wait would be too long; try again later", ahead)

    def _make_refusal(self, detail: str, tokens: int) -> Overloaded:
        """An error that says when so many tokens will be gone; a second if that is unknown."""
        retry_after_s = self._rate.estimate_s(tokens)
        if retry_after_s is None:
            retry_after_s = 1.0
        return Overloaded(detail, retry_after_s=min(retry_after_s, _LONGEST_RETRY_S))

    async def _wait(self, waiter: Waiter) -> Permit:
        self._join(waiter)
        self._dispatch()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._leave(waiter)
                self._dispatch()
            elif not waiter.future.cancelled() and waiter.future.exception() is None:
                self._finish(waiter.tokens)  # granted in the very turn that cancelled it
            raise
        return Permit(self._finish, waiter.tokens, self._clock() - waiter.since)

    def _join(self, waiter: Waiter) -> None:
        if not self._queue:
            self._rate.start(waiter.since)
        self._queue.push(waiter)
        self._idle.clear()
        self._waiting_tokens += waiter.tokens
        if waiter.bounded:
            self._room.enter(waiter.tokens)
        if waiter.deadline is not None:
            delay = waiter.deadline - waiter.since
            loop = asyncio.get_running_loop()
            waiter.timer = loop.call_later(delay, self._expire, waiter)

    def _leave(self, waiter: Waiter, *, to_run: bool = False) -> None:
        if to_run:
            self._queue.take(waiter)
        else:
            self._queue.remove(waiter)
        self._waiting_tokens -= waiter.tokens
        if waiter.bounded:
            self._room.leave(waiter.tokens)
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._note_change()

    def _expire(self, waiter: Waiter) -> None:
        self._fail(waiter, _too_late())
        self._dispatch()

    def _fail(self, waiter: Waiter, error: Exception) -> None:
        self._leave(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(error)

    def _dispatch(self) -> None:
        """Start whatever may start now, in fair order."""
        now = self._clock()
        while (waiter := self._queue.find_head()) is not None:
            if waiter.future.done():  # cancelled, and its task has not run yet
                self._leave(waiter)
            elif waiter.deadline is not None and waiter.deadline <= now:
                self._fail(waiter, _too_late())
            elif self._fits(waiter.tokens):
                self._start(waiter.tokens)
                self._leave(waiter, to_run=True)
                waiter.future.set_result(None)
            else:
                break

    def _fits(self, tokens: int) -> bool:
        return (
            self._running_items < self._max_running_items
            and self._running_tokens + tokens <= self._max_running_tokens
        )

    def _start(self, tokens: int) -> None:
        if not self._running_items:
            self._utilization.note(is_busy=True, now=self._clock())
        self._running_items += 1
        self._running_tokens += tokens
        self._idle.clear()

    def _finish(self, tokens: int) -> None:
        self._running_items -= 1
        self._running_tokens -= tokens
        if not self._running_items:
            self._utilization.note(is_busy=False, now=self._clock())
        if self._queue:
            self._rate.count(tokens, self._clock())
        self._note_change()
        self._dispatch()

    def _note_change(self) -> None:
        self.turnover += 1
        if not self._queue and not self._running_items:
            self._idle.set()
