"""Both clients, asked alike: what holds for one holds for the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from ncal_client import AsyncClient, Client, LiveLabel

Kind = Literal["blocking", "asyncio"]
KINDS = pytest.mark.parametrize("kind", ["blocking", "asyncio"])


class Asked:
    """A client of one kind; the blocking one is called in a thread."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        method = getattr(self.client, name)
        if isinstance(self.client, AsyncClient):
            return await method(*args, **options)
        return await asyncio.to_thread(method, *args, **options)

    async def collect(self, name: str, *args: Any, **options: Any) -> list[Any]:
        """All that a method yields."""
        given = getattr(self.client, name)(*args, **options)
        if isinstance(self.client, AsyncClient):
            return [each async for each in given]
        return await asyncio.to_thread(list, given)

    @asynccontextmanager
    async def open_live(self, **options: Any) -> AsyncIterator["AskedLive"]:
        live = self.client.open_live(**options)
        if isinstance(self.client, AsyncClient):
            async with live:
                yield AskedLive(live, is_async=True)
            return
        await asyncio.to_thread(live.__enter__)
        try:
            yield AskedLive(live, is_async=False)
        finally:
            await asyncio.to_thread(live.__exit__, None, None, None)


class AskedLive:
    """A live dialogue of one kind."""

    def __init__(self, live: Any, *, is_async: bool) -> None:
        self.live, self._is_async = live, is_async

    async def say(self, *args: Any) -> list[LiveLabel]:
        return await self._call(self.live.say, *args)

    async def end(self) -> list[LiveLabel]:
        return await self._call(self.live.end)

    async def _call(self, method: Any, *args: Any) -> list[LiveLabel]:
        done = method(*args) if self._is_async else asyncio.to_thread(method, *args)
        labels: list[LiveLabel] = await done
        return labels


@asynccontextmanager
async def open_client(kind: Kind, url: str, **options: Any) -> AsyncIterator[Asked]:
    if kind == "asyncio":
        async with AsyncClient(url, **options) as client:
            yield Asked(client)
        return
    with Client(url, **options) as blocking:
        yield Asked(blocking)
