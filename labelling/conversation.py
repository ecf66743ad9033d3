"""Lines that somebody types: problems, and the turns of a dialogue.

Pure. A line that begins with who speaks, as `T: …` or `师：…`, is a turn; an empty line ends the
dialogue; any other line is a problem.
"""

from typing import Any, NamedTuple

from contract.inputs import Kind, Turn
from contract.interaction import cut_windows
from contract.prompts import ContextWindow
from tables.speakers import assign_speakers
from tables.transcript import split_turn

_KEPT_TURNS = 200  # more than any window reads


class LineError(Exception):
    """A line that cannot be asked about; the message says what to type."""


class Asked(NamedTuple):
    """What a line asks."""

    kind: Kind
    items: list[dict[str, Any]]
    """What the service classifies: last of all the line itself; before it the turn before, which
    may be another one now that this has been said."""


class Conversation:
    """Remembers the dialogue so far. `kind`: what every line is; None finds out."""

    def __init__(self, window: ContextWindow, kind: Kind | None = None) -> None:
        self._window, self._kind = window, kind
        self._names: list[str] = []
        self._turns: list[Turn] = []

    def read(self, line: str) -> Asked | None:
        """What a line asks; None for an empty one, which ends the dialogue.

        LineError if it says nothing, or not who speaks where that must be known.
        """
        text = line.strip()
        if not text:
            self._names, self._turns = [], []
            return None
        turn = None if self._kind == "problem" else self._find_turn(text)
        if turn is not None:
            return self._add(turn)
        if self._kind == "dialogue-turn":
            raise LineError("say who speaks: T: … or S: …, 师：… or 生：…")
        return Asked("problem", [{"text": text}])

    def _find_turn(self, text: str) -> Turn | None:
        found = split_turn(text)
        if found is None:
            return None
        names = [*self._names, found.speaker]
        speaker = assign_speakers(names).get(found.speaker)
        if speaker is None:
            return None
        if not found.text:
            raise LineError(f"{found.speaker} says nothing; type what is said behind the colon")
        self._names = list(dict.fromkeys(names))
        return Turn(speaker=speaker, text=found.text)

    def _add(self, turn: Turn) -> Asked:
        self._turns = [*self._turns[-_KEPT_TURNS:], turn]
        windows = cut_windows(self._turns, self._window, "retrospective")
        last = windows[-2:] if self._window.following else windows[-1:]
        return Asked("dialogue-turn", [each.model_dump(mode="json") for each in last])
