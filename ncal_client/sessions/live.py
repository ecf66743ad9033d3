"""Live dialogues for programs of both kinds: how each takes the steps of `live_flows`."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Self, TypeVar

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ncal_client.address import Target
from ncal_client.errors import NcalError, Unreachable
from ncal_client.flows import Response, find_error
from ncal_client.forms.answers import LiveLabel, ModelName
from ncal_client.forms.items import ItemId, Speaker, Turn
from ncal_client.sessions.live_flows import Hear, LiveFlow, LiveFlows, Open, Rest, Say, Step
from ncal_client.waiting import CONNECT_S, Budget

T = TypeVar("T")
_SILENCE_S = 120.0
"""After which a connection is taken for lost: longer than a turn may wait."""
_BROKEN = (OSError, WebSocketException)


class LiveDialogue:
    """A dialogue that is labelled as it is spoken; use it as a context manager."""

    def __init__(
        self,
        target: Target,
        make_budget: Callable[[], Budget],
        wait: Callable[[float], bool],
    ) -> None:
        """`wait` sleeps, and says whether the client was stopped."""
        self._target, self._make_budget, self._wait = target, make_budget, wait
        self._flows = LiveFlows()
        self._stack = ExitStack()
        self._socket: ClientConnection | None = None

    @property
    def model(self) -> ModelName | None:
        """Which checkpoint answers."""
        return self._flows.model

    def say(self, speaker: Speaker, text: str, id: ItemId | None = None) -> list[LiveLabel]:
        """Say a turn. Returns the labels that are final now, and last that of the turn itself.

        After a lost connection it goes on with a new one. Raises the error of a turn that is
        refused, which then counts for nothing, and LiveEnded.
        """
        return self._run(self._flows.say(Turn(speaker, text, id), self._make_budget()))

    def end(self) -> list[LiveLabel]:
        """The dialogue is over. Returns the labels that are final now."""
        return self._run(self._flows.end(self._make_budget()))

    def __enter__(self) -> Self:
        self._run(self._flows.open(self._make_budget()))
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _run(self, flow: LiveFlow[T]) -> T:
        reply: str | NcalError | None = None
        try:
            while True:
                reply = self._take(flow.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    def _take(self, step: Step) -> str | NcalError | None:
        try:
            match step:
                case Open():
                    self._close()
                    target = self._target
                    self._socket = self._stack.enter_context(connect(
                        str(target.url), additional_headers=target.headers, ssl=target.context,
                        proxy=target.uses_proxy or None, open_timeout=CONNECT_S, compression=None,
                    ))  # fmt: skip
                    return self._hear()
                case Say(text):
                    assert self._socket is not None
                    self._socket.send(text)
                case Hear():
                    return self._hear()
                case Rest(seconds):
                    if self._wait(seconds):
                        raise Unreachable("the client was stopped")
        except _BROKEN as error:
            return _explain(error)
        return None

    def _hear(self) -> str:
        assert self._socket is not None
        return str(self._socket.recv(_SILENCE_S))

    def _close(self) -> None:
        self._socket = None
        with suppress(*_BROKEN):
            self._stack.close()


class AsyncLiveDialogue:
    """The same for programs of asyncio; use it as an asynchronous context manager."""

    def __init__(self, target: Target, make_budget: Callable[[], Budget]) -> None:
        self._target, self._make_budget = target, make_budget
        self._flows = LiveFlows()
        self._socket: AsyncConnection | None = None

    @property
    def model(self) -> ModelName | None:
        """Which checkpoint answers."""
        return self._flows.model

    async def say(self, speaker: Speaker, text: str, id: ItemId | None = None) -> list[LiveLabel]:
        """Say a turn; see `LiveDialogue.say`."""
        return await self._run(self._flows.say(Turn(speaker, text, id), self._make_budget()))

    async def end(self) -> list[LiveLabel]:
        """The dialogue is over. Returns the labels that are final now."""
        return await self._run(self._flows.end(self._make_budget()))

    async def __aenter__(self) -> Self:
        await self._run(self._flows.open(self._make_budget()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _run(self, flow: LiveFlow[T]) -> T:
        reply: str | NcalError | None = None
        try:
            while True:
                reply = await self._take(flow.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _take(self, step: Step) -> str | NcalError | None:
        try:
            match step:
                case Open():
                    await self._close()
                    target = self._target
                    self._socket = await connect_async(
                        str(target.url), additional_headers=target.headers, ssl=target.context,
                        proxy=target.uses_proxy or None, open_timeout=CONNECT_S, compression=None,
                    )  # fmt: skip
                    return await self._hear()
                case Say(text):
                    assert self._socket is not None
                    await self._socket.send(text)
                case Hear():
                    return await self._hear()
                case Rest(seconds):
                    await asyncio.sleep(seconds)
        except _BROKEN as error:
            return _explain(error)
        return None

    async def _hear(self) -> str:
        assert self._socket is not None
        async with asyncio.timeout(_SILENCE_S):
            return str(await self._socket.recv())

    async def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(*_BROKEN):
                await connection.close()


def _explain(error: Exception) -> NcalError:
    if isinstance(error, InvalidStatus):  # the handshake was refused
        told = error.response
        retry_after = told.headers.get("retry-after")
        return find_error(
            Response(told.status_code, told.reason_phrase, retry_after, bytes(told.body or b""))
        )
    return Unreachable(f"the connection broke: {error}")
