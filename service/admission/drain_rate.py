"""How fast a queue drains, as measured: what a Retry-After is computed from."""

import math

MEMORY_S = 10.0


class DrainRate:
    """Tokens per second that leave while others wait, forgetting with `MEMORY_S`.

    Without a queue the rate would be that of the arrivals, not what the engine can do. And
    results come step by step: nothing is known before `least_tokens` have come, for by the
    first result of the first step the engine would seem to be idle nearly all the time.
    """

    def __init__(self, least_tokens: int = 1) -> None:
        self._missing = least_tokens
        self._tokens = 0.0
        self._elapsed_s = 0.0
        self._since = 0.0

    def start(self, now: float) -> None:
        """A queue begins to form."""
        self._since = now

    def count(self, tokens: int, now: float) -> None:
        """So many tokens were done, and others still wait."""
        elapsed_s = max(0.0, now - self._since)
        self._since = now
        kept = math.exp(-elapsed_s / MEMORY_S)
        self._tokens = self._tokens * kept + tokens
        self._elapsed_s = self._elapsed_s * kept + elapsed_s
        self._missing -= tokens

    def estimate_s(self, tokens: int) -> float | None:
        """Seconds to drain so many tokens; None while nothing is known."""
        if self._missing > 0 or self._elapsed_s <= 0.0:
            return None
        return tokens * self._elapsed_s / self._tokens
