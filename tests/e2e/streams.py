"""Streams of problems as a client of the real service sends them."""

import asyncio
from typing import Any

from tests.e2e.service_process import ServiceProcess
from tests.service.duplex_client import DuplexClient

PROBLEMS = "/classify/problem/stream"


def make_problems(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"{number}加{number}是多少？"} for number in range(count)]


def get_address(service: ServiceProcess) -> str:
    return service.url.removeprefix("http://")


async def begin_endless_stream(client: DuplexClient) -> asyncio.Task[None]:
    async def send() -> None:
        while True:
            await client.send_items(*make_problems(50))
            await asyncio.sleep(0)  # `drain` lets nobody else run while the server reads fast

    sending = asyncio.create_task(send())
    await client.read_head()
    for _ in range(100):
        assert (await client.read_result())["status"] == "ok"
    return sending


async def read_to_end(client: DuplexClient) -> list[dict[str, Any]]:
    results = [await client.read_result()]
    while results[-1]["status"] != "end":
        results.append(await client.read_result())
    return results


async def hear_out(client: DuplexClient, sending: asyncio.Task[None]) -> list[dict[str, Any]]:
    """Read to the last line, and stop sending upon it, as a client must."""
    results = await read_to_end(client)
    sending.cancel()
    await client.finish()
    assert await client.read_all() == []
    return results
