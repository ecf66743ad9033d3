"""One stream under way, in flat memory.

Lines are read only as their answers are taken: a bounded window of items is on its way, so
a busy engine and a slow reader both reach back to the client's socket. Items are tokenized
in groups, wait outside the bounded queue, and are answered as they finish.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.types import Receive, Send

from contract.priors import Mix
from contract.prompts import Prompt
from engine.batching import order_by_length
from service.api.answers import format_result
from service.api.mixes import require_mix
from service.classifier import Call, Classification
from service.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Draining,
    EngineDead,
    InvalidInput,
    NotFound,
    RateLimited,
    ServiceError,
)
from service.http.bodies import BatchItem, parse_batch_item, parse_json
from service.http.json_bounds import count_item_values
from service.http.ndjson import SSE, LineSplitter, frame_line
from service.http.request_context import encode, get_client, get_core, get_trace
from service.models.model import ServedTask
from service.observability.logs import report_fault
from service.schemas import Options

WINDOW_STEPS = 4
"""Steps of the engine a stream reads ahead for: its items between being read and their
answer being sent."""
GROUP = 64
"""Lines parsed and tokenized together at most."""
_HEARTBEAT_S = 15.0
_LINGER_S = 2.0
_PART_BYTES = 32 * 1024
_COMPLETE = "complete"


class _Gone(Exception):
    """The client has left, or takes nothing more."""


@dataclass(frozen=True, kw_only=True)
class StreamCall:
    """What a stream asks for."""

    served: ServedTask
    """At first; what the request means may be another model later."""
    options: Options
    mix: Mix
    timeout_s: float
    """For each item, from when it was read."""
    media_type: str
    """Of the answer."""


class _Accepted(NamedTuple):
    """An item and who answers it."""

    number: int
    item: BatchItem
    served: ServedTask
    mix: Mix


class ItemStream:
    """Moves the items of one stream.

    One task takes lines in, one for each item in the window classifies it, one sends what
    is ready. They end together.
    """

    def __init__(self, request: Request, stream: StreamCall, receive: Receive, send: Send) -> None:
        core = get_core(request)
        self._request = request
        self._settings = core.settings
        self._metrics = core.metrics
        self._classifier = core.readiness.require_classifier()
        self._trace = get_trace(request)
        self._client = get_client(request)
        self._stream = stream
        self._served = stream.served
        self._mix = stream.mix
        self._receive = receive
        self._send = send
        self._window = max(GROUP, WINDOW_STEPS * core.settings.max_batched_items)
        self._max_values = count_item_values(core.settings)
        self._tasks = asyncio.TaskGroup()
        self._ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lines: list[bytes] = []
        self._has_lines = asyncio.Event()
        self._open = 0
        """Items read whose answer is not sent yet."""
        self._was_sent = asyncio.Event()
        self._items = 0
        self._ok = 0

    async def run(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer until the client, the service or the engine ends it."""
        try:
            async with self._tasks:
                await self._run(headers)
        except* _Gone:
            self._trace.error = "client-gone"
        self._metrics.request_items.labels("stream").observe(self._items)

    async def _run(self, headers: list[tuple[bytes, bytes]]) -> None:
        taking = self._tasks.create_task(self._take_in())
        watching = self._tasks.create_task(self._watch_draining())
        await asyncio.sleep(0)  # the first `receive` sends `100 Continue`: before the response
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = self._tasks.create_task(self._send_lines())
        reason = await self._ending
        watching.cancel()
        if reason != _COMPLETE:
            taking.cancel()
        await self._wait_until_open(0)
        sending.cancel()
        await self._send_body(self._frame(self._describe_end(reason), "end"))
        if reason != _COMPLETE:
            await self._discard_input()
        taking.cancel()
        await self._send_body(b"", more=False)

    def _end(self, reason: str) -> None:
        if not self._ending.done():
            self._ending.set_result(reason)

    async def _watch_draining(self) -> None:
        while True:
            admission = self._served.model.admission
            await admission.leaving.wait()
            if not self._follow() or self._served.model.admission is admission:
                return self._end(admission.farewell.slug)

    def _follow(self) -> bool:
        """Let the model that the request now means answer; False when that is none."""
        name = self._served.name
        try:
            served = self._classifier.loaded.find_task(name, self._stream.options.model)
        except NotFound:  # it was named, and has been dropped
            return False
        if served is not self._served:
            self._served = served
            self._mix = require_mix(served, self._stream.options)
        return True

    async def _take_in(self) -> None:
        try:
            async for lines in self._read_lines():
                await self._submit(lines)
        except TimeoutError:
            return self._end("idle")
        except RateLimited as error:  # the quota of the day is used up
            return self._end(error.slug)
        self._end(_COMPLETE)
        await self._receive()  # the body is read, so this says that the client has left
        raise _Gone

    async def _read_lines(self) -> AsyncIterator[list[bytes | None]]:
        splitter = LineSplitter(self._settings.max_line_bytes)
        more = True
        silence_s = 0.0
        while more:
            started = time.monotonic()
            async with asyncio.timeout(self._settings.stream_idle_timeout_s - silence_s):
                message = await self._receive()
            if message.get("body", b"").strip():
                silence_s = 0.0
            else:  # blank lines keep a connection open, and nothing else
                silence_s += time.monotonic() - started
            if message["type"] == "http.disconnect":
                raise _Gone
            more = message.get("more_body", False)
            for part in _divide(message.get("body", b"")):
                lines = splitter.feed(part)
                lines = [line for line in lines if line is None or line.strip()]
                for first in range(0, len(lines), GROUP):
                    yield lines[first : first + GROUP]
                    await asyncio.sleep(0)
                await asyncio.sleep(0)  # others get their turn, also between blank lines
        if last := [line for line in splitter.finish() if line is None or line.strip()]:
            yield last

    async def _submit(self, lines: Sequence[bytes | None]) -> None:
        items = [self._parse(line) for line in lines]
        await self._wait_until_open(self._window - len(items))
        await self._client.wait_and_charge(len(items))
        call = Call(
            mode="stream",
            client=self._client.name,
            deadline=time.monotonic() + self._stream.timeout_s,
            stages=self._trace.stages,
            wait_for_room=True,
        )
        if not self._follow():
            return self._end(Draining.slug)
        served, mix = self._served, self._mix
        with served.model.holders.hold():
            inputs = [item.input for item in items if not isinstance(item.input, ServiceError)]
            prompts: list[Prompt] = []
            try:
                prompts = await encode(self._request, served, inputs, call.deadline)
            except DeadlineExceeded as error:  # for each of them; the stream goes on
                items = [_fail(item, error) for item in items]
            accepted: list[_Accepted] = []
            for item in items:
                accepted_item = _Accepted(self._items, item, served, mix)
                self._items += 1
                self._open += 1
                if isinstance(item.input, ServiceError):
                    count = self._metrics.count_item
                    count(served.model.name, served.name, "stream", item.input.slug)
                    self._answer(accepted_item, item.input)
                else:
                    accepted.append(accepted_item)
            for place in order_by_length(prompts):
                self._start(accepted[place], prompts[place], call)

    def _start(self, item: _Accepted, prompt: Prompt, call: Call) -> None:
        holders = item.served.model.holders
        holders.enter()
        task = self._tasks.create_task(self._classify(item, prompt, call))
        # Not in the task: one that is cancelled before it begins never comes to its end.
        task.add_done_callback(lambda _: holders.leave())

    def _parse(self, line: bytes | None) -> BatchItem:
        if line is None:
            limit = self._settings.max_line_bytes
            return BatchItem(None, BodyTooLarge(f"the line is longer than {limit} bytes"))
        try:
            data = parse_json(line, self._settings, max_values=self._max_values)
        except InvalidInput as error:
            return BatchItem(None, error)
        return parse_batch_item(self._served.task.label_set.kind, data, self._settings)

    async def _classify(self, item: _Accepted, prompt: Prompt, call: Call) -> None:
        try:
            result = await self._classifier.classify(item.served, prompt, call)
        except ServiceError as error:
            if isinstance(error, EngineDead | Draining):
                self._end(error.slug)
            self._answer(item, error)
        except Exception as error:  # the stream outlives a fault of ours in one item
            self._answer(item, report_fault(error, request_id=self._trace.request_id))
        else:
            self._trace.add(result)
            self._answer(item, result)

    def _answer(self, item: _Accepted, outcome: Classification | ServiceError) -> None:
        options = self._stream.options
        result = format_result(item.number, item.item.id, item.served, outcome, options, item.mix)
        self._ok += result["status"] == "ok"
        self._lines.append(self._frame(result, "result"))
        self._has_lines.set()

    def _frame(self, content: dict[str, Any], event: str) -> bytes:
        return frame_line(content, event, self._stream.media_type)

    def _describe_end(self, reason: str) -> dict[str, Any]:
        if reason != _COMPLETE:
            self._trace.error = reason
        failed = self._items - self._ok
        totals = {"items": self._items, "ok": self._ok, "failed": failed}
        return {"status": "end", "reason": reason, **totals}

    async def _wait_until_open(self, most: int) -> None:
        while self._open > most:
            self._was_sent.clear()
            await self._was_sent.wait()

    async def _send_lines(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    await self._has_lines.wait()
            except TimeoutError:
                if self._stream.media_type == SSE:
                    await self._send_body(b": waiting\n\n")
                continue
            self._has_lines.clear()
            lines, self._lines = self._lines, []
            await self._send_body(b"".join(lines))
            self._open -= len(lines)
            self._was_sent.set()

    async def _send_body(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the response; a client that takes none of it for long is gone."""
        try:
            async with asyncio.timeout(self._settings.stall_timeout_s):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise _Gone from None

    async def _discard_input(self) -> None:
        """Read on for a moment: closing upon unread data would destroy the last line."""
        try:
            async with asyncio.timeout(_LINGER_S):
                while (await self._receive()).get("more_body"):
                    pass
        except TimeoutError:
            return


def _divide(body: bytes) -> Iterator[bytes]:
    """Yield it in parts whose lines, however short they are, are found in a moment."""
    for first in range(0, len(body), _PART_BYTES):
        yield body[first : first + _PART_BYTES]


def _fail(item: BatchItem, error: ServiceError) -> BatchItem:
    """The item with this error, unless it has one of its own."""
    return item if isinstance(item.input, ServiceError) else item._replace(input=error)
