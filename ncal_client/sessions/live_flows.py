"""What is said in a live dialogue, without input and output: flows, as in `ncal_client.flows`.

The service remembers nothing of a dialogue. What has no final label yet is kept here, with the
turns before it that the model reads; after a lost connection it is said again, and the labels
that were told already are left out.
"""

import json
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ncal_client.errors import (
    LiveEnded,
    NcalError,
    NoAnswer,
    ServiceError,
    Unreachable,
    read_error,
)
from ncal_client.forms.answers import LiveLabel, ModelName, read_live_label
from ncal_client.forms.items import Turn, describe_turn
from ncal_client.waiting import Budget

T = TypeVar("T")
_COMES_BACK = frozenset({"draining", "engine-dead", "not-ready", "idle"})
"""Why a service ends a dialogue that another replica, or the next process, goes on with."""
_END = {"type": "end"}


class Open(NamedTuple):
    """A step: connect; the reply is the first message."""


class Say(NamedTuple):
    """A step: send a message."""

    text: str


class Hear(NamedTuple):
    """A step: receive a message, which is the reply."""


class Rest(NamedTuple):
    """A step: wait."""

    seconds: float


Step = Open | Say | Hear | Rest
LiveFlow = Generator[Step, str | NcalError | None, T]
"""A step that fails has its error as the reply."""


@dataclass(slots=True)
class _Said:
    """A turn that is not final, or that others are read with."""

    index: int
    turn: Turn
    is_told: bool = False
    """Whether its first label was given to the caller."""
    is_final: bool = False


class _Refused(NamedTuple):
    """The turn was not taken and counts for nothing."""

    error: ServiceError


class _Ended(NamedTuple):
    """The service has said its last word."""

    reason: str


class LiveFlows:
    """The flows of one live dialogue."""

    def __init__(self) -> None:
        self.model: ModelName | None = None
        """Which checkpoint answers; known once it is open."""
        self.task = ""
        self._window = 0
        self._said: deque[_Said] = deque()
        self._next = 0

    def open(self, budget: Budget) -> LiveFlow[None]:
        """Connect, and say again what has no final label."""
        while True:
            reply = yield Open()
            try:
                self._read_ready(_require_text(reply))
                for message in self._list_again():
                    _require_done((yield Say(message)))
                return
            except NcalError as error:
                yield Rest(budget.spend(error))

    def say(self, turn: Turn, budget: Budget) -> LiveFlow[list[LiveLabel]]:
        """Say a turn; return the labels that it makes final, and its own as the last.

        Raises the error of a turn that is refused: it counts for nothing.
        """
        said = _Said(self._next, turn)
        self._said.append(said)
        self._next += 1
        message = json.dumps({"type": "turn", **describe_turn(turn)})
        labels: list[LiveLabel] = []
        is_sent = False
        while True:
            try:
                if not is_sent:
                    _require_done((yield Say(message)))
                    is_sent = True
                told = self._read(_require_text((yield Hear())))
            except Unreachable as error:
                yield Rest(budget.spend(error))
                yield from self.open(budget)
                is_sent = True  # with all that is said again
                continue
            if isinstance(told, _Refused):
                is_sent = yield from self._repeat(told.error, said, budget)
            elif isinstance(told, LiveLabel):
                labels += self._note(told)
                if told.index == said.index:
                    return labels

    def end(self, budget: Budget) -> LiveFlow[list[LiveLabel]]:
        """Say that the dialogue is over; return the labels that are final now."""
        labels: list[LiveLabel] = []
        is_sent = False
        while True:
            try:
                if not is_sent:
                    _require_done((yield Say(json.dumps(_END))))
                    is_sent = True
                told = self._read(_require_text((yield Hear())), is_ending=True)
            except Unreachable as error:
                yield Rest(budget.spend(error))
                yield from self.open(budget)
                is_sent = False
                continue
            if isinstance(told, _Ended):
                return labels
            if isinstance(told, LiveLabel):
                labels += self._note(told)

    def _repeat(self, error: ServiceError, said: _Said, budget: Budget) -> LiveFlow[bool]:
        """Wait before a refused turn is said again; raises where that would not help."""
        try:
            yield Rest(budget.spend(error))
        except NcalError:
            self._said.remove(said)
            self._next -= 1
            raise
        return False

    def _read_ready(self, text: str) -> None:
        told = _load(text)
        if told.get("type") != "ready":
            raise NoAnswer("the live dialogue is no NCAL Serve's")
        model = told["model"]
        self.model = ModelName(model["name"], model["fingerprint"])
        self.task = told["task"]
        self._window = told["window"]["previous"]

    def _list_again(self) -> list[str]:
        """Return what is said on a new connection."""
        kept = [said for said in self._said if not said.is_final]
        if not self._next:
            return []
        before = [said.turn for said in self._said if said.is_final]
        previous = [{"speaker": turn.speaker, "text": turn.text} for turn in before]
        index = kept[0].index if kept else self._next
        resume = {"type": "resume", "index": index, "previous": previous}
        turns = [{"type": "turn", **describe_turn(said.turn)} for said in kept]
        return [json.dumps(message) for message in (resume, *turns)]

    def _read(self, text: str, *, is_ending: bool = False) -> LiveLabel | _Refused | _Ended | None:
        """Return what a message says. Raises Unreachable where it means that another connection
        must be made, LiveEnded where none helps."""
        told = _load(text)
        if told.get("type") == "end":
            reason = str(told.get("reason"))
            if reason in _COMES_BACK:
                raise Unreachable(f"the service ended the live dialogue: {reason}")
            if not is_ending:
                raise LiveEnded(reason)
            return _Ended(reason)
        if told.get("type") == "error" and (told.get("taken") is False or "index" not in told):
            return _Refused(read_error(told.get("error")))
        if told.get("type") not in ("label", "error"):
            return None  # a pong, or what a later release says
        label = read_live_label(told)
        if label.error is not None and label.error.slug in _COMES_BACK:
            return None  # the end comes next
        return label

    def _note(self, label: LiveLabel) -> list[LiveLabel]:
        """Return the label unless it was given before; forget what is no longer needed."""
        for said in self._said:
            if said.index == label.index:
                is_new = not said.is_final and (label.is_final or not said.is_told)
                said.is_told, said.is_final = True, said.is_final or label.is_final
                break
        else:
            return []
        while sum(each.is_final for each in self._said) > self._window:
            self._said.popleft()
        return [label] if is_new else []


def _require_text(reply: str | NcalError | None) -> str:
    if isinstance(reply, NcalError):
        raise reply
    assert reply is not None
    return reply


def _require_done(reply: str | NcalError | None) -> None:
    if isinstance(reply, NcalError):
        raise reply


def _load(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError as error:
        raise NoAnswer("a message of the live dialogue is no JSON") from error
    return told if isinstance(told, dict) else {}
