"""What all clients share is bounded, and so is the share of one: places, and bytes held."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

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
