"""What the clients of all kinds have."""

import random

from benchmarks.load.connection import Address
from benchmarks.replicas.expected import Expected
from benchmarks.replicas.ledger import Ledger


class BalancedClient:
    """One client of the balancer at `address`: it checks answers and notes them in the ledger."""

    def __init__(
        self, address: Address, expected: Expected, ledger: Ledger, *, seed: int, pause_s: float
    ) -> None:
        self._address = address
        self._expected = expected
        self._ledger = ledger
        self._draw = random.Random(seed)
        self._pause_s = pause_s
        """Between what it sends: a stream or a dialogue lasts, so that a fault meets it."""
