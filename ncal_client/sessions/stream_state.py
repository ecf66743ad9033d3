"""What is on its way in a stream of items: bounded, and kept until it is answered.

No input and output here; both clients bring their own. A connection may be lost: what has no
answer yet is sent again on the next one.
"""

import json
from collections import deque

from ncal_client.errors import NcalError, NoAnswer, StreamEnded, Unreachable
from ncal_client.forms.answers import Result, read_result
from ncal_client.forms.items import Item, encode_item

WINDOW = 1024
"""Items between being taken from you and their result being given to you, at most."""
_LINES_AT_ONCE = 64
_COMPLETE = "complete"
_NOT_TAKEN = frozenset({"draining", "not-ready", "engine-dead"})
"""Errors of an item that another replica, or the next process, will answer."""


class StreamState:
    """The items of one stream, across its connections. Results come in the order of the items."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._open: dict[int, bytes] = {}
        """Items without an answer, in order."""
        self._outbox: deque[int] = deque()
        """Those of them that are not sent yet on this connection."""
        self._sent: list[int] = []
        """Item by its place on this connection, which is what the service counts."""
        self._ready: dict[int, Result] = {}
        """Results that wait for an earlier one."""
        self._given = 0
        self._delivered = 0
        self.is_exhausted = False
        """Whether there are no more items to come."""

    @property
    def has_room(self) -> bool:
        """Whether another item may be taken."""
        return self._given - self._delivered < self._window

    @property
    def has_open(self) -> bool:
        """Whether an item has no answer yet."""
        return bool(self._open)

    @property
    def has_outgoing(self) -> bool:
        return bool(self._outbox)

    @property
    def is_done(self) -> bool:
        """Whether every item has its result."""
        return self.is_exhausted and not self._open

    def add(self, item: Item) -> None:
        """Take the next item."""
        self._open[self._given] = encode_item(item) + b"\n"
        self._outbox.append(self._given)
        self._given += 1

    def begin(self) -> None:
        """There is a new connection: all that has no answer goes out again."""
        self._outbox = deque(self._open)
        self._sent = []

    def take_outgoing(self) -> bytes:
        """Return some lines, which are sent with that."""
        numbers = [self._outbox.popleft() for _ in range(min(_LINES_AT_ONCE, len(self._outbox)))]
        self._sent += numbers
        return b"".join(self._open[number] for number in numbers)

    def take_answer(self, line: bytes) -> list[Result]:
        """Take a line of the answer; return the results that are due.

        Raises StreamEnded or Unreachable where the service reads no further, and NoAnswer for
        a line that is none.
        """
        try:
            told = json.loads(line)
            if told["status"] == "end":
                self._check_end(told["reason"])
                return []
            number = self._sent[told["index"]]
            result = read_result(told, number)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise NoAnswer("a line of the stream is no answer of NCAL Serve") from error
        if result.error is not None and result.error.slug in _NOT_TAKEN:
            return []
        if self._open.pop(number, None) is not None:
            self._ready[number] = result
        due: list[Result] = []
        while self._delivered in self._ready:
            due.append(self._ready.pop(self._delivered))
            self._delivered += 1
        return due

    def check_over(self) -> None:
        """Raise Unreachable if the answer is over and some items have none."""
        if not self.is_done:
            raise Unreachable("the stream broke off")

    def _check_end(self, reason: str) -> None:
        if reason == _COMPLETE:
            return
        error: NcalError = StreamEnded(reason)
        if reason in _NOT_TAKEN or reason == "idle":
            error = Unreachable(str(error))
        raise error
