"""When a request is sent again, and when it is given up. Pure, but for the clock."""

import random
import time
from collections.abc import Callable

from ncal_client.errors import DeadlineExceeded, NcalError, ServiceError, Unreachable

_SHORTEST_S = 0.5
_LONGEST_S = 5.0
_SPREAD = 0.25
"""So much later at most than the service says, by chance: clients that were refused together
must not come back together."""
CONNECT_S = 10.0
"""A connection must be made in that time."""
LEAST_TIMEOUT_S = 0.1
"""Shortest deadline that a service accepts."""
_MOST_TIMEOUT_S = 600.0
"""Longest deadline that a service accepts, by default."""


def choose_wait(error: NcalError, attempt: int, chance: float) -> float:
    """Return the seconds to wait after the failed attempt number `attempt`, counted from 0.

    Never less than `Retry-After`; where nothing is said, longer each time. `chance` is drawn from
    0 to 1.
    """
    said_s = error.retry_after_s if isinstance(error, ServiceError) else None
    if said_s is not None:
        return max(_SHORTEST_S, said_s) * (1 + _SPREAD * chance)
    return min(_LONGEST_S, _SHORTEST_S * 2.0**attempt) * (1 + _SPREAD * chance)


class Budget:
    """How long one call may take."""

    def __init__(
        self,
        *,
        patience_s: float,
        deadline_s: float | None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._begun = self._patient_from = time.monotonic()
        self._patience_s = patience_s
        self._deadline_s = deadline_s
        self._draw = draw
        self._attempt = 0

    def renew(self) -> None:
        """Something was answered: patience begins anew."""
        self._patient_from = time.monotonic()
        self._attempt = 0

    def measure_timeout(self) -> float | None:
        """Return what is left for an attempt; None without a deadline. DeadlineExceeded if it is
        too little."""
        if self._deadline_s is None:
            return None
        left_s = self._begun + self._deadline_s - time.monotonic()
        if left_s < LEAST_TIMEOUT_S:
            raise self.make_error()
        return min(left_s, _MOST_TIMEOUT_S)

    def spend(self, error: NcalError) -> float:
        """Return the seconds to wait before the next attempt; raises the error if there is none."""
        wait_s = choose_wait(error, self._attempt, self._draw())
        self._attempt += 1
        then = time.monotonic() + wait_s
        is_late = self._deadline_s is not None and then > self._begun + self._deadline_s
        if is_late and isinstance(error, Unreachable):
            raise self.make_error() from error
        if not error.is_passing or is_late or then > self._patient_from + self._patience_s:
            raise error
        return wait_s

    def make_error(self) -> DeadlineExceeded:
        """What is raised when the deadline has passed on this side."""
        detail = f"no answer came within {self._deadline_s:g} s; allow more with `deadline_s`"
        return DeadlineExceeded(detail, status=504)
