"""A client that streams lines, and opens another stream with those that were not answered."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httptools
import orjson

from benchmarks.replicas.client import BalancedClient
from benchmarks.replicas.expected import PROBLEM
from benchmarks.replicas.ledger import CUT

_PATH = f"{PROBLEM}/stream"
_PART = 8
_PAUSE_S = 0.1


class Streams(BalancedClient):
    """One client with one stream at a time."""

    async def send_lines(self, lines: int, is_over: Callable[[], bool]) -> None:
        """Send so many lines, over and over; each until it is answered."""
        while not is_over():
            open_lines = [self._draw.randrange(len(self._expected.texts)) for _ in range(lines)]
            self._ledger.sent += lines
            while open_lines:
                reply = await self._stream(open_lines)
                left = self._take_answers(open_lines, reply)
                if left:
                    self._ledger.note_refusal("stream", reply.end)
                    self._ledger.resumed["streams"] += len(left) < len(open_lines)
                    await asyncio.sleep(_PAUSE_S)
                open_lines = left

    def _take_answers(self, numbers: Sequence[int], reply: "_Reply") -> list[int]:
        """Judge what was answered; return the lines that were not."""
        answered: dict[int, Any] = {}
        for result in reply.results:
            if result["status"] == "ok":
                self._ledger.twice += result["id"] in answered
                answered[result["id"]] = result["prediction"]
        for place, answer in answered.items():
            is_right = self._expected.is_problem_right(numbers[place], answer)
            self._ledger.note_answer("stream", is_right)
        return [number for place, number in enumerate(numbers) if place not in answered]

    async def _stream(self, numbers: Sequence[int]) -> "_Reply":
        """Send lines and read answers until the stream ends, however it does."""
        reply = _Reply()
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(*self._address)
            sending = asyncio.create_task(self._send(writer, numbers))
            try:
                while not reply.is_complete and (data := await reader.read(65536)):
                    reply.feed(data)
            finally:
                sending.cancel()
                await asyncio.wait((sending,))
        except OSError:
            pass
        finally:
            if writer is not None:
                writer.close()
        return reply

    async def _send(self, writer: asyncio.StreamWriter, numbers: Sequence[int]) -> None:
        host, port = self._address
        writer.write(
            f"POST {_PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        with suppress(OSError):  # whoever reads the answers notices the end
            for first in range(0, len(numbers), _PART):
                lines = [
                    orjson.dumps({"id": place, "text": self._expected.texts[numbers[place]]})
                    for place in range(first, min(first + _PART, len(numbers)))
                ]
                data = b"\n".join(lines) + b"\n"
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))
                await writer.drain()
                await asyncio.sleep(self._pause_s)
            writer.write(b"0\r\n\r\n")


class _Reply:
    """Lines of one answer, as far as they came."""

    def __init__(self) -> None:
        self.is_complete = False
        self.results: list[Any] = []
        self.end = CUT
        """Why it ended: what its last line says, a status, or that it was cut off."""
        self._rest = b""
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200:
            return
        *lines, self._rest = (self._rest + body).split(b"\n")
        for line in lines:
            result = orjson.loads(line)
            if result["status"] == "end":
                self.end = result["reason"]
            else:
                self.results.append(result)

    def on_message_complete(self) -> None:
        self.is_complete = True
        if self._parser.get_status_code() != 200:
            self.end = str(self._parser.get_status_code())
