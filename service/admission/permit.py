"""Leave to use the engine."""

from collections.abc import Callable
from types import TracebackType


class Permit:
    """Leave to run one item; give it back with `release` or as a context manager."""

    __slots__ = ("_give_back", "queued_s", "tokens")

    def __init__(self, give_back: Callable[[int], None], tokens: int, queued_s: float) -> None:
        self._give_back: Callable[[int], None] | None = give_back
        self.tokens = tokens
        self.queued_s = queued_s
        """Seconds it waited in the queue."""

    async def __aenter__(self) -> "Permit":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the room back; a second call does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back(self.tokens)
