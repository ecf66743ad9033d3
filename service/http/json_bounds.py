"""How much a body may hold, found out from its bytes as they arrive, before an object is made.

A parser turns two bytes into an object of a hundred, and eight MiB into gigabytes. So what
makes objects is counted first, in C and outside of texts: `,` `:` `[` and `{`.
"""

from service.errors import InvalidInput, Reason
from service.settings import Settings

_BYTES_PER_CHARACTER = 12
"""At most: two escapes, `\\ud83d\\ude00`."""
_MAKE_VALUES = b",:[{"


class JsonBounds:
    """Looks through the parts of one body in order; it need not be JSON."""

    def __init__(self, settings: Settings, max_values: int) -> None:
        self._max_values = max_values
        self._max_characters = settings.max_text_characters
        self._values = 0
        self._texts = 0
        self._is_in_text = False
        self._is_escaped = False
        """Whether a part ended with a backslash that speaks of the next byte."""
        self._text_bytes = 0
        """Length of the text that goes on in the next part."""

    @property
    def values(self) -> int:
        """Names and values so far, at most."""
        # A text needs a comma or a colon before the next one, or this is no JSON.
        return max(self._values, self._texts - 1)

    def feed(self, part: bytes) -> None:
        """Take the next part; InvalidInput as soon as there is too much of something."""
        if b"\\" in part or self._is_escaped:
            part = self._hide_escapes(part)
        pieces = part.split(b'"')
        inside = pieces[not self._is_in_text :: 2]
        outside = b"".join(pieces[self._is_in_text :: 2])
        opened = len(inside) - self._is_in_text
        if self._is_in_text:
            self._measure(self._text_bytes + len(inside[0]))
        if inside:
            self._measure(max(map(len, inside)))
        goes_on = self._is_in_text and len(pieces) == 1
        self._is_in_text ^= len(pieces) % 2 == 0
        if self._is_in_text:
            self._text_bytes = (self._text_bytes if goes_on else 0) + len(pieces[-1])
        self._texts += opened
        self._values += len(outside) - len(outside.translate(None, _MAKE_VALUES))
        if self.values > self._max_values:
            raise _refuse(f"holds more than {self._max_values} names and values")

    def _measure(self, text_bytes: int) -> None:
        if text_bytes > _BYTES_PER_CHARACTER * self._max_characters:
            raise _refuse(f"holds a text of more than {self._max_characters} characters")

    def _hide_escapes(self, part: bytes) -> bytes:
        """Put other bytes in place of escaped quotes: each that is left begins or ends a text."""
        if self._is_escaped and part:
            part = b"_" + part[1:]
            self._is_escaped = False
        part = part.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        self._is_escaped |= part.endswith(b"\\")
        return part


def count_item_values(settings: Settings) -> int:
    """How many names and values one item may hold: several times what a right one needs."""
    return 64 + 40 * settings.max_context_turns


def _refuse(reason: str) -> InvalidInput:
    return InvalidInput("the body breaks a limit", reasons=[Reason("body", reason)])
