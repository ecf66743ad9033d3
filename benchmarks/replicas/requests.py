"""Clients that send single items and batches, and send again what was not answered."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from benchmarks.load.connection import Connection
from benchmarks.replicas.client import BalancedClient
from benchmarks.replicas.expected import PROBLEM
from benchmarks.replicas.ledger import CUT

_ATTEMPT_S = 120.0
_PAUSE_S = 0.1


class Requests(BalancedClient):
    """One client with one keep-alive connection, as a program that calls has it."""

    _connection: Connection | None = None

    async def send_singles(self, is_over: Callable[[], bool]) -> None:
        """Send one item after the other until it is over, each until it is answered."""
        while not is_over():
            number = self._draw.randrange(len(self._expected.texts))
            self._ledger.sent += 1
            started = time.monotonic()
            answer = await self._insist("single", PROBLEM, {"text": self._expected.texts[number]})
            self._ledger.phase.single_s.append(time.monotonic() - started)
            self._judge("single", number, answer)
            await self._pause()

    async def send_batches(self, size: int, is_over: Callable[[], bool]) -> None:
        """Send batches of so many items; an item that failed comes again with others."""
        while not is_over():
            open_items = self._draw.sample(range(len(self._expected.texts)), size)
            self._ledger.sent += size
            while open_items:
                open_items = await self._send_batch(open_items)
            await self._pause()

    async def _send_batch(self, numbers: Sequence[int]) -> list[int]:
        """Return those that were not answered."""
        items = [{"text": self._expected.texts[number]} for number in numbers]
        answer = await self._insist("batch", f"{PROBLEM}/batch", {"items": items})
        failed = []
        for number, result in zip(numbers, answer["results"], strict=True):
            if result["status"] == "ok":
                self._judge("batch", number, result["prediction"])
            else:
                self._ledger.note_refusal("batch item", str(result["error"]["status"]))
                failed.append(number)
        return failed

    def _judge(self, kind: str, number: int, answer: Any) -> None:
        self._ledger.note_answer(kind, self._expected.is_problem_right(number, answer))

    async def _insist(self, kind: str, path: str, content: Any) -> Any:
        """Send a request until it is answered with 200: whatever it asks, twice is as once."""
        request = self._address.make_post(path, content)
        while True:
            outcome, body = await self._attempt(request)
            if outcome == "200":
                return orjson.loads(body)
            self._ledger.note_refusal(kind, outcome)
            await asyncio.sleep(_PAUSE_S)

    async def _attempt(self, request: bytes) -> tuple[str, bytes]:
        try:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._address.connect()
            async with asyncio.timeout(_ATTEMPT_S):
                status, body = await self._connection.exchange(request)
        except OSError:  # TimeoutError is one
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return CUT, b""
        return str(status), body

    async def _pause(self) -> None:
        await asyncio.sleep(self._draw.random() * 2 * self._pause_s)
