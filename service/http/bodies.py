"""Reads request bodies: bounded while they arrive, then parsed, then checked.

Messages name fields and rules, never values.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from contract.inputs import AnyInput, DialogueTurn, Kind, Problem, Turn
from service.access.rate_limit import Client
from service.access.slots import Buffer, Held
from service.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    InvalidInput,
    Reason,
    ServiceError,
    UnsupportedMediaType,
)
from service.http.json_bounds import JsonBounds
from service.observability.telemetry import Trace
from service.schemas import (
    Dialogue,
    DialogueTurnItem,
    ItemId,
    ProblemItem,
    SpokenTurn,
    check_item_id,
)
from service.settings import Settings

Form = TypeVar("Form", bound=BaseModel)
Parsed = TypeVar("Parsed")
_FORMS: dict[Kind, type[ProblemItem] | type[DialogueTurnItem]] = {
    "problem": ProblemItem,
    "dialogue-turn": DialogueTurnItem,
}
_MOST_REASONS = 20
_BROKEN_RULE = "the input breaks a rule; `errors` names the fields"
_MOST_ERRORS = 1000
"""More are not looked at: each costs a microsecond and a kilobyte."""
_NO_CODING = "identity"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PARSED_INLINE_BYTES = 32 * 1024
_PARSED_INLINE_VALUES = 512
"""A body of more is parsed in a thread, so that the event loop stays free."""
_PARSING = ThreadPoolExecutor(1, thread_name_prefix="parse")
"""One: several would take Python's lock from each other, and the loop would wait for them all."""


class BatchItem(NamedTuple):
    """One item of a batch: an input, or why it is none."""

    id: ItemId | None
    input: AnyInput | ServiceError


async def read_form(
    request: Request,
    settings: Settings,
    deadline: float,
    parse: Callable[[Any], Parsed],
    *,
    max_values: int,
) -> Parsed:
    """Return what `parse` makes of the body's JSON; `max_values` bounds names and values.

    Raises UnsupportedMediaType, BodyTooLarge, InvalidInput or Overloaded as soon as a limit is
    passed, DeadlineExceeded when it does not arrive in time (`deadline` by `time.monotonic`), or
    InvalidInput when it is no JSON, nested too deeply, or nothing that `parse` takes.
    """
    check_media_type(request, "application/json")
    buffer = cast(Buffer, request.app.state.buffer)
    with buffer.open(cast(Client, request.state.client).name) as held:
        try:
            async with asyncio.timeout(min(deadline - time.monotonic(), settings.body_timeout_s)):
                body, values = await _read_body(request, settings, max_values, held)
        except TimeoutError:
            raise DeadlineExceeded("the body did not arrive in time") from None
        if len(body) <= _PARSED_INLINE_BYTES and values <= _PARSED_INLINE_VALUES:
            parsed = parse(_load_json(body, settings))
        else:
            parsed = await parse_beside(lambda: parse(_load_json(body, settings)), deadline)
    trace = cast(Trace, request.state.trace)
    if trace.stages is not None:
        trace.stages.add("receive", time.perf_counter() - trace.started)
    return parsed


async def parse_beside(parse: Callable[[], Parsed], deadline: float) -> Parsed:
    """Return what it returns, in a thread: the event loop stays free. DeadlineExceeded if late."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await loop.run_in_executor(_PARSING, parse)
    except TimeoutError:
        raise DeadlineExceeded("the deadline passed before the body was parsed") from None


def check_media_type(request: Request, *allowed: str) -> None:
    """Raise UnsupportedMediaType unless the body declares one of the types, and no coding.

    Nothing is unpacked: a kilobyte could become a megabyte before any limit is seen.
    """
    coding = request.headers.get("content-encoding", _NO_CODING).strip().lower()
    if coding not in ("", _NO_CODING):
        raise UnsupportedMediaType(
            "send the body as it is, not compressed: without `content-encoding`",
            headers={"Accept-Encoding": _NO_CODING},
        )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in allowed:
        raise UnsupportedMediaType(f"send the body as `content-type: {' or '.join(allowed)}`")


async def _read_body(
    request: Request, settings: Settings, max_values: int, held: Held
) -> tuple[bytearray, int]:
    """Return the body and how many values it has; an error before more is held than allowed."""
    limit = settings.max_body_bytes
    too_large = BodyTooLarge(f"the body is larger than {limit} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    bounds = JsonBounds(settings, max_values)
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > limit:
            raise too_large
        held.add(len(part))
        bounds.feed(part)
        body += part
    return body, bounds.values


def parse_json(body: bytes, settings: Settings, *, max_values: int) -> Any:
    """Return what the bytes say; InvalidInput when they are no JSON, or too much of it."""
    JsonBounds(settings, max_values).feed(body)
    return _load_json(body, settings)


def _load_json(body: bytes | bytearray, settings: Settings) -> Any:
    if body.startswith(_BYTE_ORDER_MARK):  # what editors and Excel begin a UTF-8 file with
        body = body[len(_BYTE_ORDER_MARK) :]
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _refuse("body", f"not valid JSON in UTF-8 ({place})") from None
    max_depth = settings.max_json_depth
    # Brackets inside texts count too, so only a suspicious body is looked through.
    if body.count(b"[") + body.count(b"{") > max_depth and _is_deeper(data, max_depth):
        raise _refuse("body", f"nested deeper than {max_depth} levels")
    return data


def parse_form(form: type[Form], data: Any, path: str = "") -> Form:
    """Check data against a form; InvalidInput names each field that breaks a rule."""
    is_closed = form.model_config.get("extra") == "forbid"
    if is_closed and isinstance(data, dict) and len(data) > len(form.model_fields):
        raise _refuse(path or "body", "has an unknown field")
    try:
        return form.model_validate(data)
    except ValidationError as error:
        if error.error_count() > _MOST_ERRORS:
            raise _refuse(path or "body", f"breaks more than {_MOST_ERRORS} rules") from None
        raise explain(error.errors(include_input=False, include_url=False), path) from None


def parse_item(
    kind: Kind, data: Any, settings: Settings, path: str = ""
) -> ProblemItem | DialogueTurnItem:
    """Return an input of the kind; InvalidInput when it breaks a rule or a limit."""
    _check_turns_around(data, settings, path)
    item = parse_form(_FORMS[kind], data, path)
    check_limits(item, settings, path)
    return item


def parse_batch(kind: Kind, data: Any, settings: Settings) -> list[BatchItem]:
    """Return the items of a batch; only a batch that is none at all raises InvalidInput."""
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise _refuse("items", "must be a list of items")
    for name in data:
        if name != "items":
            raise _refuse("body", "has a field beside `items`; options are query parameters")
    if not items:
        raise _refuse("items", "must not be empty")
    if len(items) > settings.max_batch_items:
        raise _refuse("items", f"has more than {settings.max_batch_items} items; use a stream")
    parsed: list[BatchItem] = []
    for index, item in enumerate(items):
        items[index] = None  # it is held once: as it came, or as an input
        parsed.append(parse_batch_item(kind, item, settings, f"items.{index}"))
    return parsed


def parse_dialogue(data: Any, settings: Settings) -> Dialogue:
    """Return a dialogue; InvalidInput names the first fields that break a rule or a limit."""
    turns = data.get("turns") if isinstance(data, dict) else None
    if not isinstance(turns, list):
        return parse_form(Dialogue, data)
    if len(turns) > settings.max_dialogue_turns:
        raise _refuse("turns", f"has more than {settings.max_dialogue_turns} turns")
    reasons: list[Reason] = []
    for index, turn in enumerate(turns):
        turns[index] = None  # it is held once: as it came, or as a turn
        try:
            turns[index] = spoken = parse_form(SpokenTurn, turn, f"turns.{index}")
            check_limits(spoken, settings, f"turns.{index}")
        except InvalidInput as error:
            reasons += error.reasons
            if len(reasons) >= _MOST_REASONS:
                break
    if reasons:
        raise InvalidInput(_BROKEN_RULE, reasons=reasons[:_MOST_REASONS])
    return parse_form(Dialogue, data)


def check_limits(item: Problem | Turn, settings: Settings, path: str = "") -> None:
    """Raise InvalidInput when a text of it is too long."""
    reasons: list[Reason] = []
    limit = settings.max_text_characters
    texts = [("text", item.text)]
    if isinstance(item, DialogueTurn):
        for name, turns in (("previous", item.previous), ("following", item.following)):
            texts += [(f"{name}.{index}.text", turn.text) for index, turn in enumerate(turns)]
    for field, text in texts:
        if len(text) > limit:
            reasons.append(Reason(_join(path, field), f"has more than {limit} characters"))
    if reasons:
        raise InvalidInput("the input breaks a limit", reasons=reasons)


def explain(errors: Sequence[Any], path: str = "") -> InvalidInput:
    """Turn pydantic's errors into ours; its inputs, and names a client made up, are left out."""
    reasons: list[Reason] = []
    for error in errors[:_MOST_REASONS]:
        place, reason = list(error["loc"]), error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            place.pop()
            reason = "has an unknown field"
        reasons.append(Reason(_join(path, ".".join(map(str, place))) or "body", reason))
    return InvalidInput(_BROKEN_RULE, reasons=reasons)


def parse_batch_item(kind: Kind, data: Any, settings: Settings, path: str = "") -> BatchItem:
    """Return an item of a batch or a stream; what is wrong with it is in the item."""
    identifier: ItemId | None = None
    try:
        _check_turns_around(data, settings, path)
        item = parse_form(_FORMS[kind], data, path)
        identifier = item.id
        check_limits(item, settings, path)
        return BatchItem(identifier, item)
    except InvalidInput as error:
        if identifier is None and isinstance(data, dict):
            identifier = read_id(data.get("id"))
        return BatchItem(identifier, error)


def _check_turns_around(data: Any, settings: Settings, path: str) -> None:
    """Raise InvalidInput for too many turns around one, or too long ones, before each of them is
    looked at, all of them in one go."""
    for name in ("previous", "following") if isinstance(data, dict) else ():
        turns = data.get(name)
        if not isinstance(turns, list):
            continue
        if len(turns) > settings.max_context_turns:
            raise _break_limit(path, name, f"has more than {settings.max_context_turns} turns")
        for index, turn in enumerate(turns):
            text = turn.get("text") if isinstance(turn, dict) else None
            if isinstance(text, str) and len(text) > settings.max_text_characters:
                rule = f"has more than {settings.max_text_characters} characters"
                raise _break_limit(path, f"{name}.{index}.text", rule)


def _break_limit(path: str, field: str, rule: str) -> InvalidInput:
    return InvalidInput("the input breaks a limit", reasons=[Reason(_join(path, field), rule)])


def read_id(value: Any) -> ItemId | None:
    """The id of an item that is wrong elsewhere, if it can be given back."""
    with suppress(ValueError):
        return check_item_id(value)
    return None


def _refuse(field: str, reason: str) -> InvalidInput:
    return InvalidInput(
        "the input breaks a rule; `errors` names it", reasons=[Reason(field, reason)]
    )


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field


def _is_deeper(data: Any, max_depth: int) -> bool:
    level: list[Any] = [data]
    for _ in range(max_depth):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
