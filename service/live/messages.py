"""What client and server say to each other in a live dialogue.

Client, one JSON object a text message:

    {"type": "turn", "speaker": "teacher", "text": "…", "id": "optional"}
    {"type": "resume", "index": 12, "previous": [{"speaker": "…", "text": "…"}]}
    {"type": "ping"}
    {"type": "end"}

Server:

    {"type": "ready", "task", "model", "window", "limits"}
    {"type": "label", "index", "id"?, "final", "prediction"}
    {"type": "error", "index"?, "id"?, "final"?, "taken"?, "error"}
    {"type": "pong"}
    {"type": "end", "reason", "turns"}

A turn is labelled at once (`final: false`), and again as soon as the turns after it that
the model reads have been spoken (`final: true`); `end` makes the last ones final.

An error about a turn has its `index`. With `taken: false` the turn was refused and counts for
nothing: `index` is what it would have had, and the next turn gets it.

Resuming: a client keeps the turns that have no final label. After a lost connection it
opens a new one, says with `resume` which index its next turn has and which turns came
before it, and sends the kept turns again. The server remembers nothing; an index that is
labelled twice has the same label twice.

Close codes: 1000 the end, 1001 the service shuts down, 1003 a binary message, 1007 not
JSON, 1008 against this protocol, 1009 too large a message, 1011 a fault of the service,
4408 nothing was heard for too long.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.inputs import Turn
from service.http.bodies import parse_form
from service.schemas import ItemId

CLOSE_END = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_BINARY = 1003
CLOSE_NOT_JSON = 1007
CLOSE_MISUSE = 1008
CLOSE_TOO_LARGE = 1009
CLOSE_FAULT = 1011
CLOSE_IDLE = 4408


class TurnMessage(Turn):
    """A turn, as it is spoken."""

    type: Literal["turn"]
    id: ItemId | None = None


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ResumeMessage(_Message):
    """Where a broken session goes on; only before the first turn."""

    type: Literal["resume"]
    index: Annotated[int, Field(ge=0, le=2**53)]
    """Index of the next turn."""
    previous: list[Turn] = []
    """The turns before it, in spoken order; those beyond the model's window are not read."""


class PingMessage(_Message):
    """Keeps the session from being idle."""

    type: Literal["ping"]


class EndMessage(_Message):
    """The dialogue is over."""

    type: Literal["end"]


Message = TurnMessage | ResumeMessage | PingMessage | EndMessage
_FORMS: dict[str, type[Message]] = {
    "turn": TurnMessage,
    "resume": ResumeMessage,
    "ping": PingMessage,
    "end": EndMessage,
}


def parse_message(data: Any) -> Message | None:
    """Check a message: None for a type there is not, InvalidInput for a wrong field."""
    kind = data.get("type") if isinstance(data, dict) else None
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    return None if form is None else parse_form(form, data)
