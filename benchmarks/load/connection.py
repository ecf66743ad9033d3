"""A connection over HTTP, cheap enough not to be what is measured.

Raw asyncio protocols and a C parser; a request is bytes that are made beforehand.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import httptools
import orjson


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._tell: Callable[[int | None], None] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body. ConnectionError if it breaks."""
        reply: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        def tell(status: int | None) -> None:
            if not reply.done():
                reply.set_result(status)

        self.send(request, tell)
        status = await reply
        if status is None:
            raise ConnectionResetError("the server closed the connection")
        return status, b"".join(self._body)

    def send(self, request: bytes, tell: Callable[[int | None], None]) -> None:
        """Send a request; `tell` gets the status of the reply, None if the connection breaks."""
        self._tell = tell
        self._body = []
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no such class
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._finish(None)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int | None) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(status)


class Address(NamedTuple):
    """Where a system listens."""

    host: str
    port: int

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self.host, self.port)
        return connection

    def make_post(self, path: str, content: Any) -> bytes:
        """Return the bytes of a JSON request."""
        body = orjson.dumps(content)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def make_get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode()


def ask(address: Address, path: str, content: Any) -> Any:
    """Send one JSON request from outside any event loop; return what is answered."""

    async def exchange() -> bytes:
        connection = await address.connect()
        _, body = await connection.exchange(address.make_post(path, content))
        connection.close()
        return body

    return orjson.loads(asyncio.run(exchange()))
