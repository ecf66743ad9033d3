"""What routes need of a request: the service behind it, its client, its deadline."""

import asyncio
import functools
import math
import re
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import Receive

from contract.inputs import AnyInput
from contract.prompts import Prompt
from service.access.rate_limit import Client
from service.classifier import Call
from service.errors import InvalidInput, Reason
from service.http.bodies import parse_form
from service.limits import LEAST_TIMEOUT_S
from service.models.model import Model, ServedTask
from service.observability.metrics import Metrics, Mode
from service.observability.telemetry import Trace
from service.readiness import Readiness
from service.schemas import Options
from service.settings import Settings

AnyOptions = TypeVar("AnyOptions", bound=Options)
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Core:
    """The service behind the routes; `app.state.core`."""

    settings: Settings
    metrics: Metrics
    readiness: Readiness


def get_core(connection: HTTPConnection) -> Core:
    return cast(Core, connection.app.state.core)


def get_trace(connection: HTTPConnection) -> Trace:
    return cast(Trace, connection.state.trace)


def get_client(connection: HTTPConnection) -> Client:
    return cast(Client, connection.state.client)


def find_task(connection: HTTPConnection, task: str, options: Options) -> ServedTask:
    """Return the task at the checkpoint that the request means, which is kept until it ends.

    Raises NotFound, with what there is, or NotReady.
    """
    loaded = get_core(connection).readiness.require_classifier().loaded
    served = loaded.find_task(task, options.model)
    keep(connection, served.model)
    return served


def keep(connection: HTTPConnection, model: Model) -> None:
    """Let a model be dropped only when this request has ended."""
    model.holders.enter()
    get_trace(connection).at_end.append(model.holders.leave)


async def charge(connection: HTTPConnection, *, items: int) -> None:
    """Count items against the client's rate limit; raises RateLimited."""
    await get_client(connection).charge(items)


def make_call(connection: HTTPConnection, mode: Mode, *, wait_for_room: bool = False) -> Call:
    """Return how this request wants its items treated.

    Raises InvalidInput when `X-Request-Timeout` is not a number of seconds in range.
    """
    timeout_s = read_timeout_s(connection, get_core(connection).settings.request_timeout_s)
    return Call(
        mode=mode,
        client=get_client(connection).name,
        deadline=time.monotonic() + timeout_s,
        stages=get_trace(connection).stages,
        wait_for_room=wait_for_room,
    )


def read_options(connection: HTTPConnection) -> Options:
    """Return what the query asks of the answer; InvalidInput when it breaks a rule.

    Its prior is never None: what the request leaves open is the operator's to say.
    """
    default = get_core(connection).settings.default_prior
    if not connection.scope["query_string"]:
        return _make_default_options(default)
    return read_more_options(connection, Options)


def read_more_options(connection: HTTPConnection, form: type[AnyOptions]) -> AnyOptions:
    """The same for an endpoint with further options."""
    default = get_core(connection).settings.default_prior
    refuse_other_options(connection, form.model_fields)
    return parse_form(form, {"prior": default} | dict(connection.query_params), "query")


def refuse_other_options(connection: HTTPConnection, known: Collection[str] = ()) -> None:
    """Raise InvalidInput for an option of the query that the endpoint does not know.

    It is named if it looks like an option and not like a text.
    """
    for name in connection.query_params:
        if name not in known:
            field = f"query.{name}" if _OPTION.fullmatch(name) else "query"
            there_are = f"there are {', '.join(known)}" if known else "this endpoint has none"
            raise InvalidInput(
                "the query has an option that is none; `errors` names those there are",
                reasons=[Reason(field, f"is no option here; {there_are}")],
            )


@functools.cache
def _make_default_options(prior: str) -> Options:
    return Options(prior=prior)


def read_timeout_s(connection: HTTPConnection, default_s: float) -> float:
    """Return what `X-Request-Timeout` says; InvalidInput when it is no number in range."""
    header = connection.headers.get("x-request-timeout")
    if header is None:
        return default_s
    return _parse_timeout(header, get_core(connection).settings.max_request_timeout_s)


async def encode(
    connection: HTTPConnection, served: ServedTask, items: Sequence[AnyInput], deadline: float
) -> list[Prompt]:
    """Return the prompts of the items and note the time it took in the trace.

    Raises DeadlineExceeded, as `Classifier.encode` does.
    """
    classifier = get_core(connection).readiness.require_classifier()
    started = time.perf_counter()
    prompts = await classifier.encode(served, items, deadline)
    duration_s = time.perf_counter() - started
    trace = get_trace(connection)
    trace.tokenize_s += duration_s
    if trace.stages is not None:
        trace.stages.add("tokenize", duration_s)
    return prompts


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel the block when the client leaves; ClientDisconnect then comes out of it.

    The body must have been read: the next message can only say that the client is gone.
    """
    worker = asyncio.current_task()
    assert worker is not None
    watcher = asyncio.create_task(_cancel_when_gone(request.receive, worker))
    try:
        yield
    except asyncio.CancelledError:
        if watcher.done() and not watcher.cancelled() and worker.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


async def _cancel_when_gone(receive: Receive, worker: asyncio.Task[object]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    worker.cancel()


def _parse_timeout(header: str, longest_s: float) -> float:
    try:
        timeout_s = float(header)
    except ValueError:
        timeout_s = math.nan
    if not LEAST_TIMEOUT_S <= timeout_s <= longest_s:
        rule = f"must be a number of seconds, at least {LEAST_TIMEOUT_S:g}, at most {longest_s:g}"
        raise InvalidInput(
            "a header breaks a rule", reasons=[Reason("header.x-request-timeout", rule)]
        )
    return timeout_s
