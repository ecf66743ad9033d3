"""What all clients share is bounded, and so is the share of one: places, and bytes held."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.errors import Overloaded, RateLimited

_RETRY_AFTER_S = 10.0
_BUFFER_RETRY_AFTER_S = 1.0


class Slots:
    """So many may be taken at once, and so many by one client; counts them."""

    def __init__(self, limit: int, what: str, *, most_each: int | None = None) -> None:
        self._limit = limit
        self._what = what
        self._most_each = limit if most_each is None else most_each
        self._taken_by: Counter[str] = Counter()
        self.taken = 0

    @contextmanager
    def take(self, client: str = "") -> Iterator[None]:
        """Hold a place; Overloaded when all are taken, RateLimited when the client has its share.

        The share comes first: whoever has it would be refused at any load.
        """
        if self._taken_by[client] >= self._most_each:
            raise RateLimited(
                f"this client has {self._most_each} {self._what} open, which is its limit",
                retry_after_s=_RETRY_AFTER_S,
            )
        if self.taken >= self._limit:
            raise Overloaded(
                f"{self._limit} {self._what} are open, which is the limit",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.taken += 1
        self._taken_by[client] += 1
        try:
            yield
        finally:
            self.taken -= 1
            _give_back(self._taken_by, client, 1)


class Workplaces:
    """So many work at once; of those who wait, whoever's client has the fewest at work is next."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._working: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        """In the order in which they came."""

    @asynccontextmanager
    async def take(self, client: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it as long as the block lasts."""
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((client, called))
        self._call()
        try:
            await called
            yield
        finally:
            self._leave(client, called)

    def _call(self) -> None:
        while self._free and (waiting := [each for each in self._waiting if not each[1].done()]):
            chosen = min(waiting, key=lambda each: self._working[each[0]])
            self._waiting.remove(chosen)
            self._free -= 1
            self._working[chosen[0]] += 1
            chosen[1].set_result(None)

    def _leave(self, client: str, called: asyncio.Future[None]) -> None:
        if called.cancelled():
            self._waiting.remove((client, called))
        else:
            self._free += 1
            _give_back(self._working, client, 1)
        self._call()


class Buffer:
    """Bytes of bodies that are being read: so many at once, and half of them by one client."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held_by: Counter[str] = Counter()
        self.held = 0

    @contextmanager
    def open(self, client: str) -> Iterator["Held"]:
        """Hold the bytes of one body as long as the block lasts."""
        held = Held(self, client)
        try:
            yield held
        finally:
            self.held -= held.size
            _give_back(self._held_by, client, held.size)

    def add(self, client: str, size: int) -> None:
        """Count bytes before they are kept; raises Overloaded when there is no room for them."""
        if self.held + size > self._limit or self._held_by[client] + size > self._limit // 2:
            raise Overloaded(
                "too much is being read at once; send again", retry_after_s=_BUFFER_RETRY_AFTER_S
            )
        self.held += size
        self._held_by[client] += size


class Held:
    """What one body holds of a buffer."""

    def __init__(self, buffer: Buffer, client: str) -> None:
        self._buffer = buffer
        self._client = client
        self.size = 0

    def add(self, size: int) -> None:
        """Count more bytes; raises as `Buffer.add` does."""
        self._buffer.add(self._client, size)
        self.size += size


def _give_back(counts: Counter[str], client: str, count: int) -> None:
    counts[client] -= count
    if counts[client] <= 0:
        del counts[client]  # or every address that was ever seen would stay
