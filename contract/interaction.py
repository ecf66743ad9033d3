"""What a labelled dialogue is like as a whole: context windows and IRF structure. Pure.

An exchange follows Sinclair and Coulthard (1975): an initiation opens it, a response and
feedback continue it. Initiations in a row (a question and then a hint) open one exchange
together. Responses and feedback that go on after the feedback stay in it, as in the chains
of Mortimer and Scott (2003). Unrelated turns belong to no exchange and do not break one.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from contract.inputs import DialogueTurn, Speaker, Turn
from contract.labels import LabelSet, Move, add_moves
from contract.prompts import ContextWindow

DialogueMode = Literal["live", "retrospective"]
MOVES: tuple[Move, ...] = ("initiation", "response", "feedback", "none")
_LETTERS = {"initiation": "I", "response": "R", "feedback": "F"}


class LabelledTurn(NamedTuple):
    """What the structure of a dialogue is computed from."""

    speaker: Speaker
    text: str
    label: str
    """Its id."""


class Scheme(NamedTuple):
    """What the labels of a taxonomy do in a dialogue."""

    moves: Mapping[str, Move]
    """Of every label, by id."""
    questions: frozenset[str] | None
    """Ids of the labels that are questions; None where that cannot be told."""


class Exchange(BaseModel):
    """A run of turns that belongs together; turns are counted from 0."""

    first: int = Field(ge=0)
    last: int = Field(ge=0)
    turns: list[int]
    """Its turns in order, without unrelated ones in between."""
    pattern: str
    """Its moves in order, repeats taken together: `I-R-F`, `I-R`, `R-F-R` …"""
    complete: bool
    """Whether it has an initiation, a response and feedback."""


class Transitions(BaseModel):
    """How often one move follows another directly, unrelated turns counted as `none`."""

    moves: list[Move]
    counts: list[list[int]]
    """`counts[i][j]`: how often `moves[j]` comes directly after `moves[i]`."""


class SpeakerShare(BaseModel):
    """How much one speaker says."""

    turns: int = Field(ge=0)
    turn_share: float = Field(ge=0.0, le=1.0)
    characters: int = Field(ge=0)
    character_share: float = Field(ge=0.0, le=1.0)
    question_share: float | None = Field(ge=0.0, le=1.0)
    """Share of this speaker's turns labelled as a question; null where labels do not tell."""


class Structure(BaseModel):
    """The IRF structure of a whole dialogue."""

    exchanges: list[Exchange]
    complete_exchange_share: float = Field(ge=0.0, le=1.0)
    """Share of the exchanges that are complete; 0 without any."""
    transitions: Transitions
    speakers: dict[Speaker, SpeakerShare]
    """Both speakers, also one who says nothing."""
    question_share: float | None = Field(ge=0.0, le=1.0)
    """Share of all turns labelled as a question; null where labels do not tell."""


def cut_windows(
    turns: Sequence[Turn], window: ContextWindow, mode: DialogueMode
) -> list[DialogueTurn]:
    """Return each turn with the context the model was trained to read.

    In `live` mode no turn sees what was said after it.
    """
    following = window.following if mode == "retrospective" else 0
    return [
        DialogueTurn.model_construct(  # its parts have been validated as turns
            speaker=turn.speaker,
            text=turn.text,
            previous=tuple(turns[max(0, index - window.previous) : index]),
            following=tuple(turns[index + 1 : index + 1 + following]),
        )
        for index, turn in enumerate(turns)
    ]


def read_scheme(label_set: LabelSet) -> Scheme | None:
    """Return what the labels of a set do; None where it names no moves.

    A label's own id goes before its group.
    """
    named = add_moves(label_set)
    if not named.moves:
        return None
    by_group = {label.id: named.moves.get(label.group, "none") for label in named.labels}
    questions = frozenset(
        label.id
        for label in named.labels
        if label.id in named.question_labels or label.group in named.question_labels
    )
    return Scheme(
        moves={label: named.moves.get(label, move) for label, move in by_group.items()},
        questions=questions if named.question_labels else None,
    )


def describe_structure(turns: Sequence[LabelledTurn], scheme: Scheme) -> Structure:
    """Return the IRF structure of a dialogue that is labelled; `scheme` is of its labels."""
    moves = [scheme.moves[turn.label] for turn in turns]
    exchanges = find_exchanges(moves)
    return Structure(
        exchanges=exchanges,
        complete_exchange_share=_share(sum(each.complete for each in exchanges), len(exchanges)),
        transitions=count_transitions(moves),
        speakers={
            "teacher": _describe_speaker("teacher", turns, scheme),
            "student": _describe_speaker("student", turns, scheme),
        },
        question_share=_share_questions(turns, scheme),
    )


def find_exchanges(moves: Sequence[str]) -> list[Exchange]:
    """Part a dialogue into exchanges by the rule at the top of this module."""
    groups: list[list[int]] = []
    previous: str | None = None
    for index, move in enumerate(moves):
        if move not in _LETTERS:
            continue
        opens = move == "initiation" and previous != "initiation"
        if opens or not groups:
            groups.append([])
        groups[-1].append(index)
        previous = move
    return [_describe_exchange(group, moves) for group in groups]


def count_transitions(moves: Sequence[str]) -> Transitions:
    """Count which move follows which."""
    known = [move if move in _LETTERS else "none" for move in moves]
    pairs = Counter(itertools.pairwise(known))
    return Transitions(
        moves=list(MOVES),
        counts=[[pairs[before, after] for after in MOVES] for before in MOVES],
    )


def _describe_exchange(group: list[int], moves: Sequence[str]) -> Exchange:
    letters = [_LETTERS[moves[index]] for index in group]
    pattern = [
        letter for rank, letter in enumerate(letters) if rank == 0 or letters[rank - 1] != letter
    ]
    return Exchange(
        first=group[0],
        last=group[-1],
        turns=group,
        pattern="-".join(pattern),
        complete=set(letters) == {"I", "R", "F"},
    )


def _describe_speaker(
    speaker: Speaker, turns: Sequence[LabelledTurn], scheme: Scheme
) -> SpeakerShare:
    own = [turn for turn in turns if turn.speaker == speaker]
    characters = _count_characters(own)
    return SpeakerShare(
        turns=len(own),
        turn_share=_share(len(own), len(turns)),
        characters=characters,
        character_share=_share(characters, _count_characters(turns)),
        question_share=_share_questions(own, scheme),
    )


def _count_characters(turns: Iterable[LabelledTurn]) -> int:
    return sum(len(turn.text) for turn in turns)


def _share_questions(turns: Sequence[LabelledTurn], scheme: Scheme) -> float | None:
    if scheme.questions is None:
        return None
    return _share(sum(turn.label in scheme.questions for turn in turns), len(turns))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
