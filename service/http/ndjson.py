"""Lines in, lines out: NDJSON as it comes off the socket, NDJSON or SSE as it goes back."""

from typing import Any

import orjson

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


class LineSplitter:
    """Parts a byte stream into lines, whatever the chunks, in bounded memory.

    A line longer than `max_bytes` comes out as None, once, and its rest is skipped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """Return the lines that are complete now, without their line breaks."""
        parts = chunk.split(b"\n")
        parts[0] = self._rest + parts[0]
        self._rest = parts.pop()
        if self._skipping and parts:
            parts = parts[1:]
            self._skipping = False
        lines = [part if len(part) <= self._max_bytes else None for part in parts]
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > self._max_bytes:
            lines.append(None)
            self._rest = b""
            self._skipping = True
        return lines

    def finish(self) -> list[bytes | None]:
        """Return the last line, if it has no line break."""
        lines: list[bytes | None] = [self._rest] if self._rest else []
        self._rest = b""
        return lines


def frame_line(content: dict[str, Any], event: str, media_type: str) -> bytes:
    """Return one line of NDJSON, or one server-sent event."""
    body = orjson.dumps(content)
    if media_type == SSE:
        return b"event: " + event.encode() + b"\ndata: " + body + b"\n\n"
    return body + b"\n"
