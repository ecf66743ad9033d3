"""How fast work leaves, as measured: what a Retry-After is computed from."""

import math

MEMORY_S = 10.0
LONGEST_ESTIMATE_S = 60.0


class DrainRate:
    """Tokens per second of busy time, forgetting with `MEMORY_S`."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._busy_s = 0.0
        self._since = 0.0

    def start(self, now: float) -> None:
        """Work begins after idleness: idle time says nothing about the rate."""
        self._since = now

    def count(self, tokens: int, now: float) -> None:
        elapsed = max(0.0, now - self._since)
        self._since = now
        kept = math.exp(-elapsed / MEMORY_S)
        self._tokens = self._tokens * kept + tokens
        self._busy_s = self._busy_s * kept + elapsed

    def estimate_s(self, tokens: int) -> float:
        """Seconds to drain so many tokens; 1 while nothing is known."""
        if self._busy_s <= 0.0 or self._tokens <= 0.0:
            return 1.0
        return min(LONGEST_ESTIMATE_S, tokens * self._busy_s / self._tokens)
