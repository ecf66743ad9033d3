"""What waits for an engine that runs in threads of this process.

The event loop puts work in, threads take steps of it (`engine.batching`) and wait here while
there is none. The loop's side never waits: the lock is held for microseconds.
"""

import asyncio
import math
import threading

from engine.batching import choose_step


class Work:
    """One item on its way through the engine."""

    __slots__ = ("future", "is_cancelled", "passes", "priority", "token_ids")

    def __init__(
        self, token_ids: list[int], priority: int, future: asyncio.Future[list[float]]
    ) -> None:
        self.token_ids = token_ids
        self.priority = priority
        self.future = future
        """Only the event loop touches it."""
        self.passes = 0
        self.is_cancelled = False

    @property
    def tokens(self) -> int:
        return len(self.token_ids)


class WorkQueue:
    """Work that no step has taken yet; safe to use from all threads."""

    def __init__(self, *, max_tokens: int, max_items: int) -> None:
        self._max_tokens = max_tokens
        self._max_items = max_items
        self._condition = threading.Condition()
        self._pending: list[Work] = []
        self._idle = 0
        """Threads that wait for a step, by the lock of `_condition` as all of these."""
        self._is_closed = False

    def put(self, works: list[Work]) -> bool:
        """Add work in order of arrival; False, and nothing is added, once it is closed."""
        with self._condition:
            if not self._is_closed:
                self._pending += works
                self._condition.notify_all()
            return not self._is_closed

    def take_step(self) -> list[Work]:
        """Wait for work and take the next step of it; nothing once it is closed."""
        with self._condition:
            self._idle += 1
            try:
                while not self._is_closed:
                    self._pending = [work for work in self._pending if not work.is_cancelled]
                    if self._pending:
                        return self._take()
                    self._condition.wait()
                return []
            finally:
                self._idle -= 1

    def close(self) -> list[Work]:
        """End it for all threads; return what is left."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
            left, self._pending = self._pending, []
            return left

    def _take(self) -> list[Work]:
        # Little work is divided among the threads that have nothing to do.
        share = math.ceil(sum(work.tokens for work in self._pending) / self._idle)
        chosen = choose_step(
            self._pending, max_tokens=min(share, self._max_tokens), max_items=self._max_items
        )
        step = [self._pending[index] for index in chosen]
        taken = set(chosen)
        self._pending = [work for index, work in enumerate(self._pending) if index not in taken]
        for work in self._pending:
            work.passes += 1
        return step
