"""A bounded number of long-lived things: streams, live sessions."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_RETRY_AFTER_S = 10.0


class Slots:
    """So many may be taken at once; counts them."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place; raises Overloaded when all are taken."""
        if self.taken >= self._limit:
            raise Overloaded(
                f"{self._limit} {self._what} are open, which is the limit",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
