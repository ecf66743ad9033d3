"""One HTTP/1.1 exchange whose request and answer both go on for as long as there are lines.

httpx sends the whole of a request before it reads of the answer, and the service reads a stream
only as fast as its answers are taken: so a long stream speaks HTTP itself, by h11. No input and
output here; both clients bring their own.
"""

import threading

import h11

from ncal_client.address import Target
from ncal_client.errors import ServiceError, Unreachable
from ncal_client.flows import Response, find_error

_MOST_ERROR_BYTES = 1 << 20
SILENCE_S = 660.0
"""After which a connection is taken for lost: longer than a service lets an item wait."""


class LineExchange:
    """Frames the lines of one connection; one thread may send while another one receives."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._http = h11.Connection(h11.CLIENT)
        self._lock = threading.Lock()
        self._status = 0
        self._reason = ""
        self._retry_after: str | None = None
        self._rest = b""
        self.is_over = False
        """Whether the whole answer is here."""

    def begin(self) -> bytes:
        """Return the head of the request."""
        url = self._target.url
        headers = [
            ("host", url.netloc.decode()),
            ("content-type", "application/x-ndjson"),
            ("transfer-encoding", "chunked"),
            *self._target.headers.items(),
        ]
        return self._send(h11.Request(method="POST", target=url.raw_path, headers=headers))

    def frame(self, lines: bytes) -> bytes:
        """Return what is sent of some lines."""
        return self._send(h11.Data(data=lines))

    def finish(self) -> bytes:
        """Return what is sent after the last line."""
        return self._send(h11.EndOfMessage())

    def receive(self, data: bytes) -> list[bytes]:
        """Return the lines of the answer that are whole now.

        Raises ServiceError where the answer is an error, Unreachable where it breaks off.
        """
        lines: list[bytes] = []
        try:
            with self._lock:
                self._http.receive_data(data)
                while not self.is_over:
                    event = self._http.next_event()
                    if event is h11.NEED_DATA:
                        break
                    lines += self._take(event)
        except h11.RemoteProtocolError as error:
            raise Unreachable(f"the connection broke: {error}") from error
        return lines

    def _take(self, event: object) -> list[bytes]:
        if isinstance(event, h11.Response):
            self._status, self._reason = event.status_code, event.reason.decode("latin-1")
            for name, value in event.headers:
                if name == b"retry-after":
                    self._retry_after = value.decode("latin-1")
        elif isinstance(event, h11.Data):
            return self._split(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self.is_over = True
            if self._status != 200:
                raise self._make_error()
        elif isinstance(event, h11.ConnectionClosed):
            raise Unreachable("the connection broke: it was closed")
        return []

    def _split(self, data: bytes) -> list[bytes]:
        if self._status != 200:
            self._rest = (self._rest + data)[:_MOST_ERROR_BYTES]
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def _make_error(self) -> ServiceError:
        return find_error(Response(self._status, self._reason, self._retry_after, self._rest))

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            with self._lock:
                return self._http.send(event) or b""
        except h11.LocalProtocolError as error:
            raise Unreachable(f"the connection broke: {error}") from error
