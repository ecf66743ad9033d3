"""Bytes that are meant to hurt before any JSON is read: the smallest heads, chunks and frames.

Each is what one client writes to a connection; about a mebibyte, of which the service may take
all or nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

MIB = 2**20
_HOST = b"Host: here\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_JSON = b"Content-Type: application/json\r\n"
_LINES = b"Content-Type: application/x-ndjson\r\n"
_UPGRADE = (
    b"GET /classify/dialogue/live HTTP/1.1\r\n" + _HOST + b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_MASK = b"\0\0\0\0"
_TURN = b'{"type":"turn","speaker":"teacher","text":"a"}'


class Hurtful(NamedTuple):
    """What is written at once, and after the answer to it."""

    name: str
    first: bytes
    then: bytes = b""


def make_hurtful() -> Iterator[Hurtful]:
    """Yield each kind once."""
    yield from _make_heads()
    yield from _make_chunks()
    for name, frame in _FRAMES.items():
        yield Hurtful(name, _UPGRADE, frame * (MIB // len(frame)))


def _make_heads() -> Iterator[Hurtful]:
    get = b"GET /labels HTTP/1.1\r\n" + _HOST
    post = b"POST /classify/problem HTTP/1.1\r\n" + _HOST + _JSON + b"Content-Length: 2\r\n\r\n{}"
    yield Hurtful("requests in a row", (get + b"\r\n") * (MIB // len(get)))
    yield Hurtful("requests with bodies in a row", post * (MIB // len(post)))
    yield Hurtful("no requests in a row", b"GET / HTTP/1.1\r\n\r\n" * (MIB // 18))
    yield Hurtful("empty lines", b"\r\n" * (MIB // 2))
    yield Hurtful("one head of many lines", get + b"a:b\r\n" * 40_000 + b"\r\n")
    yield Hurtful("one head within the limit", get + b"a:b\r\n" * 12_000 + b"\r\n")
    for name, query in (("options", b"a&"), ("escapes", b"%41"), ("pairs", b"top_k=1&")):
        line = b"POST /classify/problem?" + query * (60_000 // len(query)) + b" HTTP/1.1\r\n"
        yield Hurtful(f"many {name}", line + _HOST + _JSON + b"Content-Length: 2\r\n\r\n{}")
    yield Hurtful("long path", b"GET /" + b"%41" * 20_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n")


def _make_chunks() -> Iterator[Hurtful]:
    for path, kind in (
        (b"/classify/problem", _JSON),
        (b"/classify/problem/stream", _LINES),
        (b"/files/read", b"Content-Type: multipart/form-data; boundary=x\r\n"),
    ):
        head = b"POST " + path + b" HTTP/1.1\r\n" + _HOST + kind + _CHUNKED
        for name, crumb in (("blank", b" "), ("line", b"\n"), ("digit", b"0")):
            body = b"1\r\n" + crumb + b"\r\n"
            yield Hurtful(f"chunks of one {name} for {path.decode()}", head + body * (MIB // 6))
    head = b"POST /classify/problem/stream HTTP/1.1\r\n" + _HOST + _LINES
    for name, line in (("empty", b"\n"), ("wrong", b"{}\n"), ("short", b'{"text":"a"}\n')):
        body = line * (MIB // len(line))
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        yield Hurtful(f"{name} lines in a stream", head + length + body)


def _frame(opcode: int, content: bytes = b"", *, is_last: bool = True) -> bytes:
    """A client's frame; contents are masked by zeros, which leaves them as they are."""
    return bytes((opcode | 0x80 * is_last, 0x80 | len(content))) + _MASK + content


_FRAMES = {
    "empty pings": _frame(9),
    "empty pongs": _frame(10),
    "empty messages": _frame(1),
    "empty binary messages": _frame(2),
    "short turns": _frame(1, _TURN),
    "wrong messages": _frame(1, b"{}"),
    "fragments": _frame(1, is_last=False) + _frame(0, is_last=False) * 1000 + _frame(0),
}
