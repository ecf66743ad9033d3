"""Replicas that serve a day of traffic while an autoscaler says how many there are."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scaling.autoscaler import Autoscaler, Observation, Policy
from benchmarks.scaling.curve import STRAIGHT, Curve

_SYNC_S = 15
"""How often the autoscaler looks."""
_METRICS_S = 30
"""What it sees is the mean of so many seconds: a scrape, and a window of the gauge."""
_REVERSAL_S = 1200
"""A replica that is wanted again within so long should not have been taken away."""
_RETRIES = 3


@dataclass(frozen=True, kw_only=True)
class World:
    """What surrounds the replicas."""

    curve: Curve = STRAIGHT
    """The straight one is the stricter: it shows an autoscaler the least of a load."""
    tokens_per_item: float = 39.0
    max_wait_s: float = 0.45
    """As NCAL_MAX_WAIT_S: single items that would wait longer are refused."""
    start_s: int = 30
    """From the decision to the first request: a node with room, its image there."""


@dataclass(kw_only=True)
class Outcome:
    """What became of a day."""

    items: int = 0
    refused: int = 0
    """Attempts answered with 503."""
    lost: int = 0
    """Items refused at every attempt."""
    short_s: int = 0
    """Seconds in which more came than the replicas that were ready can do: the lag."""
    longest_short_s: int = 0
    replica_s: int = 0
    needed_s: float = 0.0
    """Replica seconds, had there always been just as many as the traffic needs at the target."""
    most: int = 0
    most_needed: int = 0
    changes: int = 0
    reversals: int = 0

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.items, 1)

    @property
    def overshoot(self) -> float:
        """Replica hours beyond those needed, as a share of them."""
        return self.replica_s / max(self.needed_s, 1.0) - 1.0


class Cluster:
    """Simulates in steps of a second: the balancer keeps the queues of all replicas alike."""

    def __init__(self, policy: Policy, world: World) -> None:
        self._policy = policy
        self._world = world
        self._autoscaler = Autoscaler(policy)
        self._ready = policy.least
        self._starting: deque[int] = deque()
        """When each of those that start is ready."""
        self._queue = 0.0
        self._again: deque[list[int]] = deque([[0] * _RETRIES, [0] * _RETRIES])
        """Refused items that come again in the next seconds, by their attempt."""
        self._used: deque[float] = deque(maxlen=_METRICS_S)
        self._waiting: deque[float] = deque(maxlen=_METRICS_S)
        self._outcome = Outcome()
        self._short_s = 0
        self._last_change: tuple[int, int] | None = None

    def run(self, arrivals: Sequence[int]) -> Outcome:
        """Serve what comes in each second; return what became of it."""
        for now, count in enumerate(arrivals):
            while self._starting and self._starting[0] <= now:
                self._starting.popleft()
                self._ready += 1
            self._serve(count)
            if now % _SYNC_S == 0:
                self._scale(now)
        return self._outcome

    def _serve(self, count: int) -> None:
        world, outcome = self._world, self._outcome
        capacity = self._ready * world.curve.capacity
        again = self._again.popleft()
        room = capacity * (1.0 + world.max_wait_s) - self._queue
        taken = min(count + sum(again), max(0.0, room))
        self._refuse(count, again, taken)
        work = self._queue + taken
        done = min(work, capacity)
        self._queue = work - done
        outcome.items += count
        self._used.append(world.curve.find_utilization(done / capacity))
        self._waiting.append(self._queue * world.tokens_per_item / self._ready)
        self._note_shortage(count > capacity)
        target = self._policy.utilization or 1.0
        needed = max(self._policy.least, count / (world.curve.capacity * target))
        outcome.needed_s += min(needed, self._policy.most)
        outcome.most_needed = max(outcome.most_needed, -int(-count // world.curve.capacity))
        outcome.replica_s += self._ready + len(self._starting)
        outcome.most = max(outcome.most, self._ready + len(self._starting))

    def _refuse(self, count: int, again: list[int], taken: float) -> None:
        """Those that came first time and again are refused alike, and come again in two seconds."""
        arrived = count + sum(again)
        share = 1.0 - taken / arrived if arrived else 0.0
        attempts = [round(share * each) for each in (count, *again)]
        self._outcome.refused += sum(attempts)
        self._outcome.lost += attempts[-1]
        self._again.append(attempts[:-1])

    def _note_shortage(self, is_short: bool) -> None:
        self._short_s = self._short_s + 1 if is_short else 0
        self._outcome.short_s += is_short
        self._outcome.longest_short_s = max(self._outcome.longest_short_s, self._short_s)

    def _scale(self, now: int) -> None:
        seen = Observation(
            utilization=[sum(self._used) / len(self._used)] * self._ready,
            queue_tokens=[sum(self._waiting) / len(self._waiting)] * self._ready,
            starting=len(self._starting),
        )
        replicas = self._ready + len(self._starting)
        wanted = self._autoscaler.decide(now, replicas, seen)
        if wanted == replicas:
            return
        self._note_change(now, wanted - replicas)
        for _ in range(wanted - replicas):
            self._starting.append(now + self._world.start_s)
        for _ in range(replicas - wanted):
            if self._starting:
                self._starting.pop()
            else:
                self._ready -= 1

    def _note_change(self, now: int, by: int) -> None:
        self._outcome.changes += 1
        if self._last_change is not None:
            moment, before = self._last_change
            if now - moment < _REVERSAL_S and by > 0 > before:
                self._outcome.reversals += 1
        self._last_change = (now, by)


def simulate(policy: Policy, arrivals: Sequence[int], world: World | None = None) -> Outcome:
    """Return what becomes of a day under a policy."""
    return Cluster(policy, world or World()).run(arrivals)
