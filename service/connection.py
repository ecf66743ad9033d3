"""A connection must say what it wants in time, and in few words."""

import asyncio
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES = 64 * 1024


def make_connection_type(head_timeout_s: float) -> type[asyncio.Protocol]:
    """Return what uvicorn's `http` option takes."""
    return cast(type[asyncio.Protocol], partial(Connection, head_timeout_s=head_timeout_s))


class Connection(HttpToolsProtocol):
    """uvicorn's connection, closed when the head of a request comes late or does not end.

    uvicorn bounds only the silence after a response. A first request that never comes, and
    one that comes drop by drop (slowloris), would each hold a socket for ever, and headers
    without end would fill the memory.
    """

    def __init__(self, *, head_timeout_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        # Any byte ends uvicorn's wait for a next request: an empty line, or what is left of
        # a body that was refused.
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)
        if self._head_timer is not None and not self._is_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self._head_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
