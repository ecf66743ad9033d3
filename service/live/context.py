"""The turns of a live dialogue that still matter, and which of them are due. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract.inputs import DialogueTurn, Turn
from contract.prompts import ContextWindow
from service.schemas import ItemId


@dataclass(slots=True, eq=False)
class SpokenTurn:
    """A turn that is context for others, or not final yet."""

    index: int
    turn: Turn
    id: ItemId | None = None
    is_final: bool = False
    """Whether all turns after it that the model reads had been spoken when it was labelled."""
    answer: dict[str, Any] | None = None
    """Its label with nothing said after it."""


class LiveContext:
    """Remembers as many turns as the model's window needs, however long the dialogue."""

    def __init__(self, window: ContextWindow) -> None:
        self._window = window
        self._turns: deque[SpokenTurn] = deque()
        self.next_index = 0

    def resume(self, index: int, previous: Sequence[Turn]) -> None:
        """Begin in the middle: `previous` came before the turn that will have `index`."""
        self.next_index = index
        kept = previous[-self._window.previous :] if self._window.previous else ()
        first = index - len(kept)
        for number, turn in enumerate(kept, start=first):
            self._turns.append(SpokenTurn(number, turn, is_final=True))

    def add(self, turn: Turn, identifier: ItemId | None) -> list[SpokenTurn]:
        """Take a turn; return those to be labelled now: the ones it makes final, then itself."""
        spoken = SpokenTurn(self.next_index, turn, identifier)
        self._turns.append(spoken)
        self.next_index += 1
        due = [each for each in self._turns if not each.is_final and self._is_complete(each)]
        for each in due:
            each.is_final = True
        return due if spoken.is_final else [*due, spoken]

    def finish(self) -> list[SpokenTurn]:
        """Return the turns that are not final, which they are now."""
        due = [each for each in self._turns if not each.is_final]
        for each in due:
            each.is_final = True
        return due

    def forget(self) -> None:
        """Drop what no later turn can need."""
        while len(self._turns) > self._window.previous + self._window.following:
            self._turns.popleft()

    def make_input(self, spoken: SpokenTurn) -> DialogueTurn:
        """Return a remembered turn with the context there is now."""
        turns = list(self._turns)
        place = turns.index(spoken)
        before = turns[max(0, place - self._window.previous) : place]
        after = turns[place + 1 : place + 1 + self._window.following]
        return DialogueTurn(
            speaker=spoken.turn.speaker,
            text=spoken.turn.text,
            previous=tuple(each.turn for each in before),
            following=tuple(each.turn for each in after),
        )

    def _is_complete(self, spoken: SpokenTurn) -> bool:
        return self.next_index - 1 - spoken.index >= self._window.following
