"""Rate limits and quotas of all replicas together, counted in Redis: the only file that imports it.

A charge is one script, which Redis runs as a whole: two replicas can never both take the last
item. The clock is that of Redis. Nothing here waits for longer than `timeout_s`; when Redis is not
there each replica counts for itself, and a question a second finds out that it is back. Import
this module late: the package is an extra.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.access.rate_limit import make_quota_refusal, make_rate_refusal
from service.observability.logs import log

_PROBE_INTERVAL_S = 1.0
_MOST_CONNECTIONS = 16
_MOST_REMEMBERED = 10_000
_LONGEST_MEMORY_S = 1.0
"""What was refused here may have been given back elsewhere."""
_DAY_S = 86_400.0

_SCRIPT = """
local items, items_per_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local burst, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local day = math.floor(time[1] / 86400)
local held = redis.call('HMGET', KEYS[1], 'balance', 'since', 'day', 'sent')
local balance, sent = burst, 0
if held[1] then
  balance = math.min(burst, held[1] + (now - held[2]) * items_per_s)
  if tonumber(held[3]) == day then sent = tonumber(held[4]) end
elseif tonumber(ARGV[5]) == day then
  sent = tonumber(ARGV[6])
end
if items >= 0 and items_per_s > 0 and balance < 1 then
  return {'rate', tostring((1 - balance) / items_per_s), sent}
end
if items >= 0 and most > 0 and sent + math.max(items, 1) > most then
  return {'quota', tostring((day + 1) * 86400 - now), sent}
end
redis.call('HSET', KEYS[1], 'balance', string.format('%.9f', balance - items),
  'since', string.format('%.6f', now), 'day', day, 'sent', sent + items)
redis.call('EXPIRE', KEYS[1], 90000)
return {'ok', '0', sent + items}
"""
"""Takes items from the bucket and counts them in the quota of one client, or does neither.

KEYS: the client's hash. ARGV: items (fewer than none are given back), items a second (0: no
limit), burst, most a day (0: no quota), and a day with what the caller knows to have been sent on
it, which counts when Redis has forgotten the client. Returns what was refused, seconds until it
may be asked again, and what was sent on this day.
"""


class SharedLimits:
    """Charges clients for all replicas; used from one event loop."""

    def __init__(
        self, url: str, *, items_per_s: float, burst_items: float, timeout_s: float
    ) -> None:
        """`items_per_s`: 0 sets no limit. ValueError when it is no address of a Redis."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Whoever waits here is a request.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=pool)
        self._charge = self._redis.register_script(_SCRIPT)
        self._items_per_s = items_per_s
        self._burst_items = burst_items
        self._timeout_s = timeout_s
        self._refused: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By client, moments of `time.monotonic`: until when to remember, and from when on there is
        something for it again."""
        self._is_up: bool | None = None

    @property
    def is_up(self) -> bool:
        """Whether Redis counts; else each replica does."""
        return bool(self._is_up)

    async def charge(self, client: str, items: int, most: int | None, known: int = 0) -> int | None:
        """Take the items, fewer than none give back; return what the client sent today.

        `most` a day, None without a quota; `known` is what this replica knows that was sent today.
        None when Redis does not answer, and nothing was counted. Raises RateLimited.
        """
        if not self.is_up:
            return None
        if items >= 0:
            self.check(client)
        arguments = [
            items, self._items_per_s, self._burst_items, most or 0,
            int(time.time() // _DAY_S), known,
        ]  # fmt: skip
        # Braces: in a cluster too a client's key lies in one place.
        key = f"ncal:limits:{{{client}}}"
        answer = await self._ask(self._charge(keys=[key], args=arguments))
        if answer is None:
            return None
        refused, wait_s, sent = answer[0].decode(), float(answer[1]), int(answer[2])
        if refused == "ok":
            return sent
        if refused == "quota":  # a smaller request might still be welcome
            raise make_quota_refusal(most or 0, wait_s)
        self._remember(client, wait_s)
        raise make_rate_refusal(wait_s)

    def check(self, client: str) -> None:
        """Raise RateLimited when the client has just been refused, and it is no time yet."""
        if client not in self._refused:
            return
        now = time.monotonic()
        until, again_at = self._refused[client]
        if now < until:
            raise make_rate_refusal(again_at - now)
        del self._refused[client]

    async def watch(self) -> None:
        """Ask every second whether Redis is there, for ever."""
        while True:
            await self.probe()
            await asyncio.sleep(_PROBE_INTERVAL_S)

    async def probe(self) -> None:
        """Ask whether Redis is there."""
        await self._ask(self._redis.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, question: Awaitable[Any]) -> Any:
        """Return what Redis answers; None when it does not, or cannot do what is asked."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await question
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._note(is_up=False, reason=type(error).__name__)
            return None
        self._note(is_up=True)
        return answer

    def _note(self, *, is_up: bool, reason: str | None = None) -> None:
        if is_up == self._is_up:
            return
        self._is_up = is_up
        self._refused.clear()
        if is_up:
            log("limits are shared by all replicas")
        else:
            log("limits are counted by each replica", level=logging.WARNING, reason=reason)

    def _remember(self, client: str, wait_s: float) -> None:
        now = time.monotonic()
        self._refused[client] = (now + min(wait_s, _LONGEST_MEMORY_S), now + wait_s)
        self._refused.move_to_end(client)
        if len(self._refused) > _MOST_REMEMBERED:
            self._refused.popitem(last=False)
