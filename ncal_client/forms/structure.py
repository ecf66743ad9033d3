"""What a labelled dialogue is like as a whole: exchanges, transitions, shares of talk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """An initiation with the responses and feedback that continue it."""

    first: int
    last: int
    turns: tuple[int, ...]
    """Indices of its turns."""
    pattern: str
    """Its moves in order, repeats taken together: `I-R-F`."""
    complete: bool


@dataclass(frozen=True, slots=True)
class Transitions:
    """How often a move follows another one directly."""

    moves: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """`counts[i][j]`: how often `moves[j]` comes directly after `moves[i]`."""


@dataclass(frozen=True, slots=True)
class SpeakerShare:
    """How much one of the two says."""

    turns: int
    turn_share: float
    characters: int
    character_share: float
    question_share: float | None
    """Of this speaker's turns; None where the labels do not tell."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The IRF structure of a dialogue."""

    exchanges: tuple[Exchange, ...]
    complete_exchange_share: float
    transitions: Transitions
    speakers: Mapping[str, SpeakerShare]
    """Of teacher and student."""
    question_share: float | None


def read_structure(data: Mapping[str, Any]) -> Structure:
    """Return the structure that the service describes."""
    transitions = data["transitions"]
    return Structure(
        exchanges=tuple(
            Exchange(
                each["first"], each["last"], tuple(each["turns"]), each["pattern"],
                each["complete"],
            )
            for each in data["exchanges"]
        ),
        complete_exchange_share=data["complete_exchange_share"],
        transitions=Transitions(
            tuple(transitions["moves"]), tuple(tuple(row) for row in transitions["counts"])
        ),
        speakers={
            name: SpeakerShare(
                each["turns"], each["turn_share"], each["characters"], each["character_share"],
                each["question_share"],
            )
            for name, each in data["speakers"].items()
        },
        question_share=data["question_share"],
    )  # fmt: skip
