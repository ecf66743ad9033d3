"""What can be classified: a problem, or a turn of a tutoring dialogue."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Kind = Literal["problem", "dialogue-turn"]
Speaker = Literal["teacher", "student"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Input(BaseModel):
    """Base of all inputs: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Input):
    """A maths problem as a pupil would read it."""

    text: Text


class Turn(Input):
    """One utterance of a dialogue."""

    speaker: Speaker
    text: Text


class DialogueTurn(Turn):
    """A turn to be labelled, with what was said around it.

    `previous` is in spoken order, so its last turn stands directly before this
    one. `following` is in spoken order too and is empty while the dialogue is
    live: the turn after does not exist yet.
    """

    previous: tuple[Turn, ...] = ()
    following: tuple[Turn, ...] = ()


AnyInput = Problem | DialogueTurn
