"""How many items a client may send: a token bucket for each, and a quota of the day."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

from service.errors import RateLimited

_MOST_CLIENTS = 10_000
_DAY_S = 86_400.0
_LONGEST_WAIT_S = 600.0


class RateLimit:
    """Token buckets, counted in items, so that batches pay for what they hold.

    A bucket that is not empty lets a request of any size through and may then be in
    debt: a batch larger than the burst is paid off, not refused for ever.
    """

    def __init__(
        self,
        *,
        items_per_s: float,
        burst_items: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if items_per_s <= 0.0 or burst_items < 1.0:
            raise ValueError("a rate limit needs items_per_s above 0 and burst_items of at least 1")
        self._items_per_s = items_per_s
        self._burst_items = burst_items
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, client: str, items: int) -> None:
        """Take the items from the client's bucket, or raise RateLimited and take nothing.

        No items ask only whether some could be taken; fewer than none are given back.
        """
        now = self._clock()
        balance, since = self._buckets.get(client, (self._burst_items, now))
        balance = min(self._burst_items, balance + (now - since) * self._items_per_s)
        if balance < 1.0 and items >= 0:
            raise make_rate_refusal((1.0 - balance) / self._items_per_s)
        self._buckets[client] = (balance - items, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:  # the longest idle one has most likely refilled
            self._buckets.popitem(last=False)


class DailyQuota:
    """How many items each client has sent since midnight, UTC, by the count of this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._day = 0.0
        self._sent: Counter[str] = Counter()

    def charge(self, client: str, items: int, most: int) -> None:
        """Count the items, or raise RateLimited and count nothing, if that is more than `most`."""
        second = self._begin_day()
        if items >= 0 and self._sent[client] + max(items, 1) > most:
            raise make_quota_refusal(most, _DAY_S - second)
        self._sent[client] += items

    def count(self, client: str) -> int:
        """Return how many items are known to have been sent today."""
        self._begin_day()
        return self._sent[client]

    def note(self, client: str, sent: int) -> None:
        """So many have been sent today, as somebody says who knows of all replicas."""
        self._begin_day()
        self._sent[client] = sent

    def _begin_day(self) -> float:
        """Forget yesterday; return the seconds of today."""
        day, second = divmod(self._clock(), _DAY_S)
        if day != self._day:
            self._day = day
            self._sent.clear()
        return second


def make_rate_refusal(retry_after_s: float) -> RateLimited:
    return RateLimited("this client has used up its rate limit", retry_after_s=retry_after_s)


def make_quota_refusal(most: int, retry_after_s: float) -> RateLimited:
    return RateLimited(
        f"the key of this client is good for {most} items a day", retry_after_s=retry_after_s
    )


class SharedCount(Protocol):
    """What counts for all replicas: `service.access.shared_limits`."""

    @property
    def is_up(self) -> bool: ...

    async def charge(
        self, client: str, items: int, most: int | None, known: int = 0
    ) -> int | None: ...

    def check(self, client: str) -> None: ...


class Client:
    """Who sent a request, as the security layer found out: `request.state.client`."""

    __slots__ = ("_charged", "_items_per_day", "_limit", "_quota", "_shared", "name")

    def __init__(
        self,
        name: str,
        limit: RateLimit | None = None,
        quota: DailyQuota | None = None,
        items_per_day: int | None = None,
        shared: SharedCount | None = None,
    ) -> None:
        """`limit` and `quota` are those of this process, which count while `shared` does not."""
        self.name = name
        """The name of its key, or its address where no keys are asked for."""
        self._limit = limit
        self._quota = quota if items_per_day is not None else None
        self._items_per_day = items_per_day
        is_limited = self._limit is not None or self._quota is not None
        self._shared = shared if is_limited else None
        self._charged = 0

    async def charge(self, items: int) -> None:
        """Count items against the client's rate limit and quota; raises RateLimited."""
        if self._shared is None or not await self._charge_everywhere(self._shared, items):
            self._charge_here(items)
        self._charged += items

    async def _charge_everywhere(self, shared: SharedCount, items: int) -> bool:
        """Count items for all replicas; False when that cannot be done now."""
        known = 0 if self._quota is None else self._quota.count(self.name)
        sent = await shared.charge(self.name, items, self._items_per_day, known)
        if sent is not None and self._quota is not None:
            self._quota.note(self.name, sent)
        return sent is not None

    def _charge_here(self, items: int) -> None:
        if self._limit is not None:
            self._limit.charge(self.name, items)
        if self._quota is not None and self._items_per_day is not None:
            try:
                self._quota.charge(self.name, items, self._items_per_day)
            except RateLimited:
                if self._limit is not None:
                    self._limit.charge(self.name, -items)
                raise

    def check(self) -> None:
        """Raise RateLimited when, as far as this process knows, no item could be charged now."""
        if self._shared is None or not self._shared.is_up:
            return self._charge_here(0)
        self._shared.check(self.name)
        if self._quota is not None and self._items_per_day is not None:
            self._quota.charge(self.name, 0, self._items_per_day)

    async def refund(self, items: int | None = None) -> None:
        """Give back items whose work was not taken; all of them unless told how many."""
        items = self._charged if items is None else items
        if items:
            await self.charge(-items)

    async def wait_and_charge(self, items: int) -> None:
        """Count items, waiting as long as the rate limit asks: back-pressure for streams.

        Raises RateLimited when that is very long: the quota of the day is used up.
        """
        while True:
            try:
                return await self.charge(items)
            except RateLimited as error:
                if (error.retry_after_s or 0.0) > _LONGEST_WAIT_S:
                    raise
                await asyncio.sleep(error.retry_after_s or 0.0)
