"""What both clients do, without doing it: flows, which yield the steps that a client takes.

A flow is a generator: it yields an Exchange or a Pause, gets the reply, and returns what the
caller wants. So the rules of asking again and of errors stand here once, those of each endpoint
in `calls`, and the two clients only know how a step is taken.
"""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ncal_client.errors import NoAnswer, ServiceError, Unreachable, read_error
from ncal_client.waiting import Budget

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One request."""

    path: str
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, bytes]] | None = None
    """Of a `multipart/form-data`: by field, name and content."""
    fields: Mapping[str, str] | None = None
    """The other fields of it."""


class Exchange(NamedTuple):
    """A step: send the request; the reply is a Response, or why there is none."""

    ask: Ask
    timeout_s: float | None
    """None where the call has no deadline."""


class Pause(NamedTuple):
    """A step: wait; the reply is None, or Unreachable where the client was stopped meanwhile."""

    seconds: float


class Response(NamedTuple):
    """What was answered."""

    status: int
    reason: str
    retry_after: str | None
    body: bytes


Reply = Response | Unreachable | None
Flow = Generator[Exchange | Pause, Reply, T]


def ask_json(ask: Ask, read: Callable[[Any], T], budget: Budget, url: str) -> Flow[T]:
    """Send a request, and again while that may help; return what `read` makes of the answer.

    Raises the error that is left, or NoAnswer where something else answers at `url`.
    """
    body = yield from ask_bytes(ask, budget)
    try:
        return read(json.loads(body))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoAnswer(f"{url}: is no NCAL Serve, or of another release") from error


def ask_bytes(ask: Ask, budget: Budget) -> Flow[bytes]:
    """The same for an answer that is no JSON."""
    while True:
        reply = yield Exchange(ask, budget.measure_timeout())
        if isinstance(reply, Response) and reply.status < 300:
            return reply.body
        error = reply if isinstance(reply, Unreachable) else find_error(reply)
        yield from pause(error, budget)


def pause(error: ServiceError | Unreachable, budget: Budget) -> Flow[None]:
    """Wait before the next attempt; raises the error where there shall be none."""
    if (yield Pause(budget.spend(error))) is not None:
        raise error


def find_error(reply: Response | None) -> ServiceError:
    """Return the error that an answer tells."""
    assert reply is not None
    try:
        document = json.loads(reply.body)
    except ValueError:
        document = {"detail": reply.reason}
    seconds = _read_seconds(reply.retry_after)
    return read_error(document, status=reply.status, retry_after_s=seconds)


def _read_seconds(value: str | None) -> float | None:
    """What `Retry-After` says; None for a date, which the service never sends."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
