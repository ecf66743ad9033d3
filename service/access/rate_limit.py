"""How many items a client may send: a token bucket for each, and a quota of the day."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

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
            raise RateLimited(
                "this client has used up its rate limit",
                retry_after_s=(1.0 - balance) / self._items_per_s,
            )
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
        day, second = divmod(self._clock(), _DAY_S)
        if day != self._day:
            self._day = day
            self._sent.clear()
        if items >= 0 and self._sent[client] + max(items, 1) > most:
            raise RateLimited(
                f"the key of this client is good for {most} items a day",
                retry_after_s=_DAY_S - second,
            )
        self._sent[client] += items


class Client:
    """Who sent a request, as the security layer found out: `request.state.client`."""

    __slots__ = ("_charged", "_items_per_day", "_limit", "_quota", "name")

    def __init__(
        self,
        name: str,
        limit: RateLimit | None = None,
        quota: DailyQuota | None = None,
        items_per_day: int | None = None,
    ) -> None:
        self.name = name
        """The name of its key, or its address where no keys are asked for."""
        self._limit = limit
        self._quota = quota
        self._items_per_day = items_per_day
        self._charged = 0

    def charge(self, items: int) -> None:
        """Count items against the client's rate limit and quota; raises RateLimited."""
        if self._limit is not None:
            self._limit.charge(self.name, items)
        if self._quota is not None and self._items_per_day is not None:
            try:
                self._quota.charge(self.name, items, self._items_per_day)
            except RateLimited:
                if self._limit is not None:
                    self._limit.charge(self.name, -items)
                raise
        self._charged += items

    def check(self) -> None:
        """Raise RateLimited when an item could not be charged now."""
        self.charge(0)

    def refund(self, items: int | None = None) -> None:
        """Give back items whose work was not taken; all of them unless told how many."""
        items = self._charged if items is None else items
        if items:
            self.charge(-items)

    async def wait_and_charge(self, items: int) -> None:
        """Count items, waiting as long as the rate limit asks: back-pressure for streams.

        Raises RateLimited when that is very long: the quota of the day is used up.
        """
        while True:
            try:
                return self.charge(items)
            except RateLimited as error:
                if (error.retry_after_s or 0.0) > _LONGEST_WAIT_S:
                    raise
                await asyncio.sleep(error.retry_after_s or 0.0)
