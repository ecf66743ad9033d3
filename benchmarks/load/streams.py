"""One NDJSON stream: problems are sent while answers are read."""

import asyncio
import time
from collections.abc import Sequence

import httptools
import orjson

from benchmarks.load.connection import Address


async def run_stream(address: Address, path: str, texts: Sequence[str]) -> float:
    """Send problems as one NDJSON stream while reading the answers; return the seconds.

    Raises StreamCut unless every line was answered `ok`.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port)
    answer = _StreamAnswer()
    parser = httptools.HttpResponseParser(answer)
    started = time.perf_counter()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    sending = asyncio.create_task(_send_lines(writer, texts))
    while not answer.is_complete:
        data = await reader.read(2**16)
        if not data:
            raise ConnectionResetError("the stream broke off")
        parser.feed_data(data)
    seconds = time.perf_counter() - started
    sending.cancel()  # under way only if the server ended the stream
    await asyncio.wait((sending,))
    writer.close()
    answer.check(len(texts))
    return seconds


async def _send_lines(writer: asyncio.StreamWriter, texts: Sequence[str]) -> None:
    for first in range(0, len(texts), 64):
        lines = (orjson.dumps({"text": text}) + b"\n" for text in texts[first : first + 64])
        data = b"".join(lines)
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


class StreamCut(ValueError):
    """Not every line of a stream was answered; `reason` is what its last line says."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _StreamAnswer:
    """Counts the lines of an answer; keeps only the last."""

    def __init__(self) -> None:
        self.is_complete = False
        self._lines = 0
        self._last = b""

    def on_body(self, body: bytes) -> None:
        self._lines += body.count(b"\n")
        self._last = (self._last + body)[-512:]

    def on_message_complete(self) -> None:
        self.is_complete = True

    def check(self, items: int) -> None:
        end = orjson.loads(self._last.splitlines()[-1])
        if (self._lines, end.get("ok"), end.get("reason")) != (items + 1, items, "complete"):
            reason = end.get("reason") or end["type"]  # or it was refused as a whole
            raise StreamCut(f"the stream of {items} items ended with {end}", reason)
