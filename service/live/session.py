"""One live dialogue under way; `service.live.messages` says what is said."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from contract.inputs import Turn
from contract.priors import Mix
from contract.prompts import Prompt
from service.api.answers import format_answer
from service.classifier import Call
from service.errors import (
    NOT_TAKEN,
    DeadlineExceeded,
    Draining,
    EngineDead,
    InvalidInput,
    RateLimited,
    Reason,
    ServiceError,
    to_error_document,
)
from service.http.bodies import check_limits, parse_json, read_id
from service.http.request_context import get_client, get_core, get_trace
from service.live.context import LiveContext, SpokenTurn
from service.live.messages import (
    CLOSE_BINARY,
    CLOSE_END,
    CLOSE_FAULT,
    CLOSE_GOING_AWAY,
    CLOSE_IDLE,
    CLOSE_MISUSE,
    CLOSE_NOT_JSON,
    CLOSE_TOO_LARGE,
    EndMessage,
    PingMessage,
    ResumeMessage,
    TurnMessage,
    parse_message,
)
from service.models.model import ServedTask
from service.observability.logs import log, report_fault
from service.schemas import Options

_READ_AHEAD = 8
"""Messages held while a turn is classified; more wait in the client's socket."""
_MOST_VALUES = 8192
"""Names and values of a message: of over a thousand turns that came before."""
MOST_MISTAKES = 20
"""Wrong messages in a row before the session is closed."""


class _Close(Exception):
    """The session is over, for a reason that the last message names."""

    def __init__(
        self,
        code: int,
        reason: str,
        error: ServiceError | None = None,
        place: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.error = error
        self.place = place or {}
        """Of the turn that the error is about."""


class Session:
    """Answers the messages of one WebSocket, in order.

    One task reads ahead, so that a client that leaves is noticed while its turn is still
    being classified, and the work is cancelled.
    """

    def __init__(
        self, websocket: WebSocket, served: ServedTask, options: Options, mix: Mix
    ) -> None:
        core = get_core(websocket)
        self._websocket = websocket
        self._settings = core.settings
        self._classifier = core.readiness.require_classifier()
        self._metrics = core.metrics
        self._client = get_client(websocket)
        self._trace = get_trace(websocket)
        self._served = served
        self._options = options
        self._mix = mix
        self._context = LiveContext(served.task.window)
        self._inbox: asyncio.Queue[bytes | _Close] = asyncio.Queue(_READ_AHEAD)
        self._has_begun = False
        self._turns = 0
        self._mistakes = 0

    async def run(self) -> None:
        """Talk until somebody ends it; whoever is still there gets a proper close code."""
        started = time.monotonic()
        outcome = "client-gone"
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._watch_draining())
                await self._answer_messages()
        except* _Close as group:
            closing = group.exceptions[0]
            assert isinstance(closing, _Close)
            outcome = closing.reason
            await self._close(closing)
        except* WebSocketDisconnect:
            pass
        except* Exception as group:
            fault = report_fault(group, request_id=self._trace.request_id)
            outcome = fault.slug
            await self._close(_Close(CLOSE_FAULT, outcome, fault))
        self._metrics.request_items.labels("live").observe(self._turns)
        log(
            "live session",
            request_id=self._trace.request_id,
            client=self._client.name,
            outcome=outcome,
            items=self._turns,
            duration_s=round(time.monotonic() - started, 3),
        )

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.live_idle_timeout_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                await self._inbox.put(_Close(CLOSE_IDLE, "idle"))
                continue  # still listening: the client may leave before it is told
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            await self._inbox.put(self._take_text(message.get("text")))

    def _take_text(self, text: str | None) -> bytes | _Close:
        if text is None:
            error = _refuse("message", "must be text, not binary")
            return _Close(CLOSE_BINARY, "binary-message", error)
        body = text.encode()
        limit = self._settings.max_live_message_bytes
        if len(body) > limit:
            error = _refuse("message", f"is larger than {limit} bytes")
            return _Close(CLOSE_TOO_LARGE, "message-too-large", error)
        return body

    async def _watch_draining(self) -> None:
        admission = self._served.model.admission
        await admission.leaving.wait()
        slug = admission.farewell.slug
        await self._inbox.put(
            _Close(CLOSE_GOING_AWAY if slug == Draining.slug else CLOSE_FAULT, slug)
        )

    async def _answer_messages(self) -> None:
        await self._send(self._describe_session())
        while True:
            body = await self._inbox.get()
            if isinstance(body, _Close):
                raise body
            data = self._parse(body)
            try:
                await self._answer_message(data)
                self._mistakes = 0
            except (InvalidInput, RateLimited) as error:
                await self._forgive(error, data)

    async def _forgive(self, error: ServiceError, data: Any) -> None:
        """Tell of a message that was not taken; whoever only errs is sent away."""
        self._metrics.count_error(error.slug)
        self._mistakes += not isinstance(error, RateLimited)  # which is haste, and no mistake
        place = self._find_place(data)
        if self._mistakes >= MOST_MISTAKES:
            raise _Close(CLOSE_MISUSE, "too-many-mistakes", error, place) from None
        await self._send({"type": "error", **place, "error": to_error_document(error)})

    def _find_place(self, data: Any) -> dict[str, Any]:
        """What tells a turn that was not taken: the index it would have had, and its id."""
        if not isinstance(data, dict) or data.get("type") != "turn":
            return {}
        place = {"index": self._context.next_index, "taken": False}
        identifier = read_id(data.get("id"))
        return place if identifier is None else place | {"id": identifier}

    def _parse(self, body: bytes) -> Any:
        try:
            return parse_json(body, self._settings, max_values=_MOST_VALUES)
        except InvalidInput as error:
            raise _Close(CLOSE_NOT_JSON, "not-json", error) from None

    async def _answer_message(self, data: Any) -> None:
        match parse_message(data):
            case TurnMessage() as message:
                await self._take_turn(message)
            case ResumeMessage() as message:
                self._resume(message)
            case PingMessage():
                await self._send({"type": "pong"})
            case EndMessage():
                await self._label(self._context.finish())
                raise _Close(CLOSE_END, "end")
            case None:
                unknown = _refuse("type", "must be turn, resume, ping or end")
                raise _Close(CLOSE_MISUSE, "unknown-message", unknown)

    def _resume(self, message: ResumeMessage) -> None:
        if self._has_begun:
            error = _refuse("type", "resume must come before the first turn, and once")
            raise _Close(CLOSE_MISUSE, "late-resume", error)
        for turn in message.previous:
            check_limits(turn, self._settings)
        self._has_begun = True
        self._context.resume(message.index, message.previous)

    async def _take_turn(self, message: TurnMessage) -> None:
        check_limits(message, self._settings)
        if self._turns >= self._settings.max_live_turns:
            raise _Close(CLOSE_MISUSE, "too-many-turns")
        await self._client.charge(1)
        self._has_begun = True
        self._turns += 1
        turn = Turn(speaker=message.speaker, text=message.text)
        await self._label(self._context.add(turn, message.id), is_charged=True)
        self._context.forget()

    async def _label(self, due: list[SpokenTurn], *, is_charged: bool = False) -> None:
        """Classify turns with the context there is, and send their labels in order.

        `is_charged`: the last of them is paid for, and gets that back if it is not taken.
        """
        inputs = [self._context.make_input(each) for each in due]
        deadline = time.monotonic() + self._settings.request_timeout_s
        answers: list[dict[str, Any] | ServiceError]
        try:
            prompts = await self._classifier.encode(self._served, inputs, deadline)
        except DeadlineExceeded as error:
            answers = [error for _ in due]
        else:
            answers = await asyncio.gather(
                *(
                    self._classify(each, prompt, deadline)
                    for each, prompt in zip(due, prompts, strict=True)
                )
            )
        if is_charged and isinstance(answers[-1], NOT_TAKEN):
            await self._client.refund(1)
        for spoken, answer in zip(due, answers, strict=True):
            await self._send_label(spoken, answer)

    async def _classify(
        self, spoken: SpokenTurn, prompt: Prompt, deadline: float
    ) -> dict[str, Any] | ServiceError:
        is_last = spoken.index == self._context.next_index - 1
        if is_last and spoken.answer is not None:
            return spoken.answer  # nothing was said after it: its label stands
        call = Call(
            mode="live",
            client=self._client.name,
            deadline=deadline,
            stages=self._trace.stages,
        )
        try:
            result = await self._classifier.classify(self._served, prompt, call)
        except ServiceError as error:
            return error
        self._trace.add(result)
        answer = format_answer(self._served, result, self._options, self._mix)
        if is_last:
            spoken.answer = answer
        return answer

    async def _send_label(self, spoken: SpokenTurn, answer: dict[str, Any] | ServiceError) -> None:
        place: dict[str, Any] = {"index": spoken.index, "final": spoken.is_final}
        if spoken.id is not None:
            place["id"] = spoken.id
        if not isinstance(answer, ServiceError):
            return await self._send({"type": "label", **place, "prediction": answer})
        await self._send({"type": "error", **place, "error": to_error_document(answer)})
        if isinstance(answer, EngineDead):
            raise _Close(CLOSE_FAULT, answer.slug)
        if isinstance(answer, Draining):
            raise _Close(CLOSE_GOING_AWAY, answer.slug)

    async def _close(self, closing: _Close) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it may have left meanwhile
            if closing.error is not None:
                document = to_error_document(closing.error)
                await self._send({"type": "error", **closing.place, "error": document})
            await self._send({"type": "end", "reason": closing.reason, "turns": self._turns})
            await self._websocket.close(closing.code, closing.reason)

    async def _send(self, message: dict[str, Any]) -> None:
        """Send a message; a client that takes none for long is gone."""
        try:
            async with asyncio.timeout(self._settings.stall_timeout_s):
                await self._websocket.send_text(orjson.dumps(message).decode())
        except (TimeoutError, RuntimeError):  # uvicorn's, when its ping found nobody there
            raise WebSocketDisconnect from None

    def _describe_session(self) -> dict[str, Any]:
        model = self._served.model
        return {
            "type": "ready",
            "task": self._served.name,
            "model": {"name": model.name, "fingerprint": model.fingerprint},
            "window": self._served.task.window._asdict(),
            "limits": {
                "idle_timeout_s": self._settings.live_idle_timeout_s,
                "max_message_bytes": self._settings.max_live_message_bytes,
                "max_turns": self._settings.max_live_turns,
            },
        }


def _refuse(field: str, reason: str) -> InvalidInput:
    return InvalidInput("the message breaks a rule", reasons=[Reason(field, reason)])
