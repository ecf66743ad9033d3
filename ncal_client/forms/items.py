"""What is classified: problems, turns of a dialogue, and how they are written as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

Kind = Literal["problem", "dialogue-turn"]
Speaker = Literal["teacher", "student"]
Mode = Literal["live", "retrospective"]
"""Of a whole dialogue: its turns are read as if nothing had been said after them, or with that."""
ItemId = str | int
"""What you call an item; it comes back with its result. A text of at most 256 characters."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A maths problem."""

    text: str
    id: ItemId | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of the two says."""

    speaker: Speaker
    text: str
    id: ItemId | None = None
    """Of a turn in a dialogue; the turns around another one have none."""


@dataclass(frozen=True, slots=True)
class DialogueTurn:
    """A turn to be labelled, with what was said around it in spoken order."""

    speaker: Speaker
    text: str
    previous: Sequence[Turn] = ()
    following: Sequence[Turn] = ()
    id: ItemId | None = None


Item = str | Problem | DialogueTurn | Mapping[str, Any]
"""A text is a problem; a mapping is JSON as the service's documentation has it."""
BUILT_IN_PATHS: Mapping[Kind, str] = {
    "problem": "/classify/problem",
    "dialogue-turn": "/classify/dialogue-turn",
}
"""Where an item is classified whose task is not named."""


def find_path(kind: Kind, task: str | None) -> str:
    """Return where items are classified: by the task that is named, or else by their kind."""
    return BUILT_IN_PATHS[kind] if task is None else f"/classify/tasks/{quote(task, safe='')}"


def find_kind(item: Item) -> Kind:
    """Return what an item is."""
    has_speaker = "speaker" in item if isinstance(item, Mapping) else hasattr(item, "speaker")
    return "dialogue-turn" if has_speaker else "problem"


def encode_item(item: Item) -> bytes:
    """Return the JSON of an item. Escaped, so that a text that is none (half a character) is
    sent all the same, and refused alone."""
    return json.dumps(describe_item(item), separators=(",", ":")).encode()


def describe_item(item: Item) -> Mapping[str, Any]:
    """Return an item as JSON-ready data."""
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, Mapping):
        return item
    described: dict[str, Any] = {"text": item.text}
    if isinstance(item, DialogueTurn):
        described["speaker"] = item.speaker
        for name, turns in (("previous", item.previous), ("following", item.following)):
            if turns:
                described[name] = [{"speaker": each.speaker, "text": each.text} for each in turns]
    if item.id is not None:
        described["id"] = item.id
    return described


def describe_turn(turn: Turn) -> dict[str, Any]:
    """Return a turn of a dialogue as JSON-ready data."""
    described: dict[str, Any] = {"speaker": turn.speaker, "text": turn.text}
    if turn.id is not None:
        described["id"] = turn.id
    return described
