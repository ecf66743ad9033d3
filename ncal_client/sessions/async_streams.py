"""Streams for programs of asyncio: one task takes items and one sends, while the caller reads."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing

from ncal_client.address import Target
from ncal_client.errors import NcalError, Unreachable
from ncal_client.forms.answers import Result
from ncal_client.forms.items import Item
from ncal_client.sessions.line_exchange import SILENCE_S, LineExchange
from ncal_client.sessions.stream_state import StreamState
from ncal_client.waiting import CONNECT_S, Budget

_RECEIVED_BYTES = 1 << 16


class _Connection:
    """A connection and what is framed on it."""

    def __init__(
        self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.exchange = LineExchange(target)
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, target: Target) -> "_Connection":
        try:
            async with asyncio.timeout(CONNECT_S):
                made = await asyncio.open_connection(target.host, target.port, ssl=target.context)
            connection = cls(target, *made)
            await connection.send(connection.exchange.begin())
        except OSError as error:
            raise Unreachable(f"{target.url} cannot be reached: {error}") from error
        return connection

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        try:
            async with asyncio.timeout(SILENCE_S):
                return await self._reader.read(_RECEIVED_BYTES)
        except OSError as error:
            raise Unreachable(f"the connection broke: {error}") from error

    def close(self) -> None:
        self._writer.close()


class AsyncStream:
    """One stream of items, which come from an iterable of either kind."""

    def __init__(
        self, target: Target, items: Iterable[Item] | AsyncIterable[Item], budget: Budget
    ) -> None:
        self._target = target
        self._items = aiter(items) if isinstance(items, AsyncIterable) else _follow(items)
        self._budget = budget
        self._state = StreamState()
        self._changed = asyncio.Condition()
        self._connection: _Connection | None = None
        self._is_finished = False
        """Whether the connection has got its last line."""
        self._failure: BaseException | None = None
        """Of the iterable."""

    async def run(self) -> AsyncGenerator[Result, None]:
        """Yield the results in the order of the items."""
        workers = [asyncio.create_task(self._pull()), asyncio.create_task(self._send())]
        try:
            while await self._await_work():
                try:
                    async with aclosing(self._run_connection()) as results:
                        async for result in results:
                            yield result
                except NcalError as error:
                    self._raise_failure()
                    await asyncio.sleep(self._budget.spend(error))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _await_work(self) -> bool:
        """Wait until a connection is needed; False when all is answered."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._failure or self._state.is_exhausted or self._state.has_open
            )
        self._raise_failure()
        return not self._state.is_done

    async def _run_connection(self) -> AsyncGenerator[Result, None]:
        connection = await _Connection.open(self._target)
        self._state.begin()
        self._connection, self._is_finished = connection, False
        await self._tell()
        try:
            while not connection.exchange.is_over:
                for line in connection.exchange.receive(await connection.receive()):
                    for result in await self._take(line):
                        yield result
                self._raise_failure()
            self._state.check_over()
        finally:
            self._connection = None
            connection.close()

    async def _take(self, line: bytes) -> list[Result]:
        due = self._state.take_answer(line)
        if due:
            self._budget.renew()
            await self._tell()
        return due

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _pull(self) -> None:
        """Take items while there is room; the caller gets what is raised meanwhile."""
        try:
            async for item in self._items:
                self._state.add(item)
                await self._tell()
                async with self._changed:
                    await self._changed.wait_for(lambda: self._state.has_room)
            self._state.is_exhausted = True
        except Exception as error:
            self._failure = error
            if self._connection is not None:
                self._connection.close()  # who reads from it wakes up
        await self._tell()

    async def _send(self) -> None:
        """Send what is to be sent."""
        while True:
            async with self._changed:
                await self._changed.wait_for(self._can_send)
            connection = self._connection
            if connection is None:
                continue
            lines, exchange = self._state.take_outgoing(), connection.exchange
            try:
                await connection.send(exchange.frame(lines) if lines else exchange.finish())
            except (OSError, Unreachable):  # whoever reads from it finds out why
                if self._connection is connection:
                    self._connection = None
            else:
                self._is_finished |= not lines and self._connection is connection

    def _can_send(self) -> bool:
        if self._connection is None:
            return False
        return self._state.has_outgoing or (self._state.is_exhausted and not self._is_finished)


async def _follow(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item
        await asyncio.sleep(0)  # a list would let nobody else run
