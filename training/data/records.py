"""A labelled example as its file has it, whatever the file's form."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from training.errors import BadInput

Item = TypeVar("Item", Problem, Turn)
_CONTEXT_TURNS = 8  # more than any prompt window reads; bounds the memory of long transcripts


class Record(NamedTuple):
    """One example as its file has it."""

    place: str
    """File and line."""
    id: str
    item: AnyInput
    data_label: str | None
    """None where the file has no labels."""
    line: int = 0
    """Of the file or the sheet, counted from 1."""


def place_turn(turns: Sequence[Turn], place: int) -> DialogueTurn:
    """Return a turn of a dialogue with the turns around it."""
    return DialogueTurn(
        speaker=turns[place].speaker,
        text=turns[place].text,
        previous=tuple(turns[max(0, place - _CONTEXT_TURNS) : place]),
        following=tuple(turns[place + 1 : place + 1 + _CONTEXT_TURNS]),
    )


def validate(place: str, model: type[Item], fields: dict[str, str | None]) -> Item:
    """Return the fields as a model; BadInput with the place and the reason."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise explain(place, error) from error


def explain(place: str, error: ValidationError) -> BadInput:
    reason = error.errors()[0]
    return BadInput(f"{place}: {'.'.join(map(str, reason['loc']))}: {reason['msg']}")
