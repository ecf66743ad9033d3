"""How much of the time the engine has work: what an autoscaler looks at.

Unlike the queue it tells of a load that the replicas can still do, and so does not ask for the
removal of a replica that is needed; unlike the processor it tells so of a GPU too.
"""

import math

MEMORY_S = 15.0


class Utilization:
    """Share of the time with work under way, forgetting with `MEMORY_S`."""

    def __init__(self, now: float) -> None:
        self._share = 0.0
        self._is_busy = False
        self._since = now

    def note(self, *, is_busy: bool, now: float) -> None:
        """From now on there is work, or none."""
        self._share = self.read(now)
        self._is_busy = is_busy
        self._since = now

    def read(self, now: float) -> float:
        """Return the share, 0 to 1."""
        kept = math.exp(-max(0.0, now - self._since) / MEMORY_S)
        return self._share * kept + self._is_busy * (1.0 - kept)
