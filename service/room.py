"""The bounded room in which work waits, shared by dynamic thresholds.

After Choudhury and Hahne (1998): a client may have up to `ROOM_SHARE` times the room that
is still free waiting in each priority. Alone it can use eight ninths of the room; however
much it sends, others still find some.
"""

from service.fairness import Flow

ROOM_SHARE = 8


class Room:
    """Counts the items and tokens that wait, and says whether more may."""

    def __init__(self, max_items: int, max_tokens: int) -> None:
        if min(max_items, max_tokens) < 0:
            raise ValueError("the limits of waiting work must not be negative")
        self._free_items = max_items
        self._free_tokens = max_tokens
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


def _is_fair(held: int, amount: int, free: int, items: int) -> bool:
    """The threshold as the last of the items finds it."""
    before_last = free - amount + amount / items
    return amount <= free and held + amount <= ROOM_SHARE * before_last
