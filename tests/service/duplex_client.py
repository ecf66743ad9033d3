"""An HTTP client that reads while it writes: what httpx cannot do and streams need."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class DuplexClient:
    """One POST whose body and answer are both under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self._rest = b""

    async def send(self, data: bytes) -> None:
        """Send a part of the body; waits as long as the server reads nothing."""
        if data:
            self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def send_items(self, *items: Any) -> None:
        await self.send(b"".join(json.dumps(item).encode() + b"\n" for item in items))

    async def finish(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def read_head(self) -> int:
        """Read status and headers; return the status."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        pairs = [line.partition(": ") for line in lines if line]
        self.headers = {name.lower(): value for name, _, value in pairs}
        return self.status

    async def read_line(self, separator: bytes = b"\n") -> bytes | None:
        """Return the next line of the answer, None at its end."""
        while separator not in self._rest:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            self._rest += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            if not size:
                return None
        line, _, self._rest = self._rest.partition(separator)
        return line

    async def read_result(self) -> dict[str, Any]:
        """Return the next line as JSON; the answer must not have ended."""
        line = await asyncio.wait_for(self.read_line(), 30)
        assert line is not None, "the answer has ended"
        result: dict[str, Any] = json.loads(line)
        return result

    async def read_all(self) -> list[dict[str, Any]]:
        """Return all lines to the end of the answer."""
        results: list[dict[str, Any]] = []
        while (line := await asyncio.wait_for(self.read_line(), 30)) is not None:
            results.append(json.loads(line))
        return results

    async def leave(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()


@asynccontextmanager
async def open_stream(
    address: str, path: str, *, receive_buffer: int | None = None, **headers: str
) -> AsyncIterator[DuplexClient]:
    """Begin a POST with a chunked body of NDJSON."""
    host, _, port = address.partition(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**16)
    fields = {"Host": address, "Content-Type": "application/x-ndjson"} | headers
    fields["Transfer-Encoding"] = "chunked"
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        yield DuplexClient(reader, writer)
    finally:
        writer.transport.abort()
