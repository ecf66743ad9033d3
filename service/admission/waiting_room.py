"""The bounded room in which work waits, shared by dynamic thresholds.

After Choudhury and Hahne (1998): a client may have up to `ROOM_SHARE` times the room that
is still free waiting in each priority. Alone it can use eight ninths of the room; however
much it sends, others still find some.
"""

from service.admission.fair_queue import Flow
from service.errors import BodyTooLarge

ROOM_SHARE = 8


class Room:
    """Counts the items and tokens that wait, and says whether more may."""

    def __init__(self, max_items: int, max_tokens: int) -> None:
        if min(max_items, max_tokens) < 0:
            raise ValueError("the limits of waiting work must not be negative")
        self._max_items = self._free_items = max_items
        self._max_tokens = self._free_tokens = max_tokens
        self.tokens = 0
        """Tokens that wait in the room."""

    def enter(self, tokens: int) -> None:
        """Take room for one item."""
        self._free_items -= 1
        self._free_tokens -= tokens
        self.tokens += tokens

    def leave(self, tokens: int) -> None:
        """Give its room back."""
        self._free_items += 1
        self._free_tokens += tokens
        self.tokens -= tokens

    def has_room(self, flow: Flow, items: int, tokens: int) -> bool:
        """Whether so many items, so many tokens together, may all join the flow."""
        return _is_fair(len(flow.waiters), items, self._free_items, items) and _is_fair(
            flow.tokens, tokens, self._free_tokens, items
        )

    def check_size(self, items: int, tokens: int, at_once_items: int, at_once_tokens: int) -> None:
        """Raise BodyTooLarge when so many would not fit if nothing else were there.

        So many items and tokens start at once; the others need room.
        """
        waiting, waiting_tokens = items - at_once_items, tokens - at_once_tokens
        if waiting <= 0 and waiting_tokens <= 0:
            return
        waiting = max(waiting, 1)
        if not (
            _is_fair(0, waiting, self._max_items, waiting)
            and _is_fair(0, max(waiting_tokens, 0), self._max_tokens, waiting)
        ):
            most_items = at_once_items + self._max_items * ROOM_SHARE // (ROOM_SHARE + 1)
            most_tokens = at_once_tokens + self._max_tokens * ROOM_SHARE // (ROOM_SHARE + 1)
            raise BodyTooLarge(
                f"{items} items of {tokens} prompt tokens in all are more than are taken at once: "
                f"{most_items} items, {most_tokens} tokens; send them in parts, or as a stream"
            )


def _is_fair(held: int, amount: int, free: int, items: int) -> bool:
    """The threshold as the last of the items finds it."""
    before_last = free - amount + amount / items
    return amount <= free and held + amount <= ROOM_SHARE * before_last
