"""The replicas, the balancer and the load, and what may happen to a replica."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load.connection import Address
from benchmarks.replicas.balancer import Balancer, start_balancer
from benchmarks.replicas.expected import Expected
from benchmarks.replicas.ledger import Ledger
from benchmarks.replicas.live import LiveDialogues
from benchmarks.replicas.replica import Replica
from benchmarks.replicas.requests import Requests
from benchmarks.replicas.streams import Streams

NAMES = ("a", "b", "c", "d")
"""The fourth is the one that is added; until then it does not run."""
_PATIENCE_S = 90.0
_NOTICE_S = 1.0
"""Between what a balancer is told and SIGTERM: what `preStop` is to Kubernetes."""


class Fleet:
    """Replicas behind a balancer."""

    def __init__(self, replicas: dict[str, Replica], balancer: Balancer) -> None:
        self.replicas = replicas
        self.balancer = balancer

    async def wait_for(self, name: str, *states: str) -> None:
        """Return once the balancer thinks so of a replica; TimeoutError if it never does."""
        async with asyncio.timeout(_PATIENCE_S):
            while self.balancer.read_states()[name] not in states:
                await asyncio.sleep(0.05)

    async def start(self, name: str, checkpoint: Path) -> None:
        """Start a replica and return when requests come to it."""
        await self.replicas[name].start(checkpoint)
        await self.wait_for(name, "UP")

    async def kill(self, name: str) -> None:
        """SIGKILL; return when the balancer has noticed."""
        self.replicas[name].kill()
        await self.wait_for(name, "DOWN")

    async def hang(self, name: str) -> None:
        """SIGSTOP; return when the balancer has noticed."""
        self.replicas[name].hang()
        await self.wait_for(name, "DOWN")

    async def renew(self, name: str, checkpoint: Path, *, is_told: bool = True) -> None:
        """Put another checkpoint into a replica: drained, and started again.

        `is_told`: the balancer knows beforehand, else it finds out. RuntimeError when the replica
        does not end as after a drain.
        """
        if is_told:
            self.balancer.set_state(name, "drain")
            await asyncio.sleep(_NOTICE_S)
        if code := await self.replicas[name].stop():
            raise RuntimeError(f"replica {name} ended with {code} instead of draining")
        await self.replicas[name].start(checkpoint)
        self.balancer.set_state(name, "ready")
        await self.wait_for(name, "UP")


@contextmanager
def open_fleet(folder: Path, *options: str) -> Iterator[Fleet]:
    """A balancer before replicas none of which runs yet; `options` are the service's."""
    replicas = {name: Replica(name, folder, *options) for name in NAMES}
    try:
        with start_balancer({each.name: each.address for each in replicas.values()}, folder) as one:
            yield Fleet(replicas, one)
    finally:
        for replica in replicas.values():
            replica.clean_up()


class Load:
    """Clients of every kind that go on until they are stopped, and then finish what they began."""

    def __init__(
        self, address: Address, expected: Expected, *, clients: int, pause_s: float
    ) -> None:
        """`clients` send single items; of each other kind there are a quarter as many."""
        self.ledger = Ledger()
        self._is_over = False
        few = max(2, clients // 4)
        kinds: list[tuple[int, Callable[[int], Coroutine[Any, Any, None]]]] = [
            (clients, lambda seed: Requests(*place, seed=seed, pause_s=pause_s).send_singles(over)),
            (few, lambda seed: Requests(*place, seed=seed, pause_s=pause_s).send_batches(32, over)),
            (few, lambda seed: Streams(*place, seed=seed, pause_s=pause_s).send_lines(96, over)),
            (few, lambda seed: LiveDialogues(*place, seed=seed, pause_s=pause_s).hold(over)),
        ]
        place = (address, expected, self.ledger)
        over = self._get_is_over
        self._kinds = kinds

    async def run(self) -> None:
        """Return when everything that was sent is answered."""
        async with asyncio.TaskGroup() as group:
            for kind, (count, begin) in enumerate(self._kinds):
                for number in range(count):
                    group.create_task(begin(1000 * kind + number))

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """Begin nothing more, and wait until what was begun is answered, or for long enough."""
        self._is_over = True
        await asyncio.wait((running,), timeout=_PATIENCE_S)
        running.cancel()
        await asyncio.wait((running,))
        self.ledger.end()

    def _get_is_over(self) -> bool:
        return self._is_over
