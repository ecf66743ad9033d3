"""A connection must say what it wants in time and in few words, take its answer in time, and
may be told no at once."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.errors import ERROR_MEDIA_TYPE, InvalidInput, to_error_document

_MOST_HEAD_BYTES = 64 * 1024
_MOST_AT_ONCE = 32
"""Requests that come in one piece, before the first of them is answered."""
_MOST_FIELDS = 256
"""Of a query."""
_FRAMES_AT_ONCE_BYTES = 4 * 1024
"""Frames of a live dialogue that are taken apart in one go: the smallest have six bytes."""


Refuse = Callable[[bytes, Scope], bytes | None]
"""By the target of a POST and what its head says: headers and body of a 503, or None."""


def make_connection_type(
    head_timeout_s: float, refuse: Refuse, *, stall_timeout_s: float
) -> type[asyncio.Protocol]:
    """Return what uvicorn's `http` option takes."""
    made = partial(
        Connection, head_timeout_s=head_timeout_s, refuse=refuse, stall_timeout_s=stall_timeout_s
    )
    return cast(type[asyncio.Protocol], made)


class Connection(HttpToolsProtocol):
    """uvicorn's connection, closed when the head of a request comes late or does not end.

    uvicorn bounds only the silence after a response. A first request that never comes, and
    one that comes drop by drop (slowloris), would each hold a socket for ever, and headers
    without end would fill the memory, before a body or, chunked, behind it. What `refuse`
    answers gets that answer before a task is made for it.
    """

    def __init__(
        self, *, head_timeout_s: float, refuse: Refuse, stall_timeout_s: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._stall_timeout_s = stall_timeout_s
        self._stall_timer: asyncio.TimerHandle | None = None
        self._refuse = refuse
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_body = False
        self._brought_body = False
        self._requests_at_once = 0
        self._spoken_bytes = 0
        """Of the target and the headers of one request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        self._brought_body = False
        self._requests_at_once = 0
        super().data_received(data)
        # Any byte ends uvicorn's wait for a next request: an empty line, the beginning of a
        # head, or what is left of a body that was refused. Most heads come whole, and the
        # clock is then never set.
        if self._head_timer is None and self._is_idle() and not self.timeout_keep_alive_task:
            self._expect_head()
        # Between the parts of a body, and behind it, chunks have words of their own.
        if (self._head_timer is not None or self._is_in_body) and not self._brought_body:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._requests_at_once += 1
        if self._requests_at_once > _MOST_AT_ONCE:
            raise _TooMuch
        self._spoken_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._measure_head(len(url))
        if self.url.count(b"&") >= _MOST_FIELDS:
            raise _TooMuch

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._is_in_body = True
        self._head_bytes = 0
        refusal = None
        if self._may_refuse():
            refusal = self._refuse(self.url, cast(Scope, self.scope))
        if refusal is None:
            super().on_headers_complete()
        else:
            self._answer_refused(refusal)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_body:  # what comes behind a body speaks for nobody
            self._measure_head(len(name) + len(value))
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._brought_body = True
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reader()  # closing waits until all is taken

    def shutdown(self) -> None:
        super().shutdown()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it, in the form of every other error."""
        error = InvalidInput("this is no HTTP request, or its head is too large")
        body = orjson.dumps(to_error_document(error) | {"status": 400})
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        lines = [b"%s: %s\r\n" % each for each in self.server_state.default_headers]
        content = head % (ERROR_MEDIA_TYPE.encode(), len(body))
        self.transport.write(b"".join((STATUS_LINE[400], *lines, content, body)))
        self.transport.close()
        self._watch_reader()

    def _measure_head(self, more: int) -> None:
        """Count what a head says, which may come in one piece; the parser's end if it is much."""
        self._spoken_bytes += more
        if self._spoken_bytes > _MOST_HEAD_BYTES:
            raise _TooMuch

    def _watch_reader(self) -> None:
        """Break off when nothing of what was written is taken for long."""
        self._stop_watching()
        left = self.transport.get_write_buffer_size()
        if left:
            self._stall_timer = self.loop.call_later(
                self._stall_timeout_s, self._break_off_unless_taken, left
            )

    def _break_off_unless_taken(self, left: int) -> None:
        if self.transport.get_write_buffer_size() >= left:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _is_idle(self) -> bool:
        """Whether no request is being answered, and none has become a WebSocket."""
        is_free = self.cycle is None or self.cycle.response_complete
        return is_free and self in self.connections

    def _may_refuse(self) -> bool:
        """Whether an answer could go out at once, and another request could follow it."""
        return (
            self.parser.get_method() == b"POST"
            and self._is_idle()
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
        )

    def _answer_refused(self, refusal: bytes) -> None:
        head = [b"%s: %s\r\n" % each for each in self.server_state.default_headers]
        self.transport.write(b"".join((STATUS_LINE[503], *head, refusal)))
        # What is left of the body is then skipped, as of any request that has its answer.
        self.cycle = cast(RequestResponseCycle, _ANSWERED)
        self.on_response_complete()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self._head_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _TooMuch(Exception):
    """A head says more than is listened to; the parser makes malformed HTTP of it."""


class LiveConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which others get their turn beside.

    It takes frames apart in Python, as many as a read of a quarter of a MiB holds: the smallest
    would keep the event loop for half a second, so they are taken in parts, and nothing more is
    read meanwhile. And a handshake that was refused with an answer is complete here: uvicorn
    would log an error of ours for each, so that anybody could fill the log.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._untaken = bytearray()

    def data_received(self, data: bytes) -> None:
        if not self._untaken and len(data) <= _FRAMES_AT_ONCE_BYTES:
            return super().data_received(data)
        if not self._untaken:
            self.loop.call_soon(self._take_on)
        self._untaken += data
        self._stop_reading()

    def _take_on(self) -> None:
        if self.transport.is_closing():
            return self._untaken.clear()
        part = bytes(self._untaken[:_FRAMES_AT_ONCE_BYTES])
        super().data_received(part)
        del self._untaken[: len(part)]
        if self._untaken:
            self.loop.call_soon(self._take_on)
            self._stop_reading()
        elif not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _stop_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._untaken:  # uvicorn has gone on reading
            self._stop_reading()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        is_answer = message["type"] == "websocket.http.response.body"
        if is_answer and not message.get("more_body", False):
            self.handshake_complete = True


class _Answered:
    """What uvicorn asks of a request that has its answer."""

    response_complete = True

    def __init__(self) -> None:
        self.message_event = asyncio.Event()


_ANSWERED = _Answered()
