"""Limits that replicas share, over a real Redis: what holds with it, and what without."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.api_keys import ApiKeys, make_key
from service.access.rate_limit import Client, DailyQuota, RateLimit
from service.access.shared_limits import SharedLimits
from service.errors import RateLimited
from service.settings import SettingsError, read_settings
from tests.service.access.redis_server import RedisServer, run_redis
from tests.service.fake_service import FakeService, run_fake_service

PROBLEM = {"text": "1 + 1 = ?"}
KEY, HASH = make_key()
TIMEOUT_S = 5.0
"""Longer than a busy machine needs: only what is meant to fail shall."""
NEVER = 0.001
"""Items a second that bring nothing back while a test runs."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    # A short path: that of a socket must not be long.
    with tempfile.TemporaryDirectory() as folder, run_redis(Path(folder)) as running:
        yield running


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisServer]:
    """The server, running and empty."""
    if server.process is not None and server.process.poll() is not None:
        server.start()
    async with open_limits(server) as limits:
        await limits._redis.flushall()
    yield server


@asynccontextmanager
async def open_limits(
    server: RedisServer, *, items_per_s: float = NEVER, burst_items: float = 10.0
) -> AsyncIterator[SharedLimits]:
    limits = SharedLimits(
        server.url, items_per_s=items_per_s, burst_items=burst_items, timeout_s=TIMEOUT_S
    )
    await limits.probe()
    try:
        yield limits
    finally:
        await limits.close()


@asynccontextmanager
async def run_replicas(
    server: RedisServer, count: int, **changes: Any
) -> AsyncIterator[list[FakeService]]:
    options = {"redis_url": server.url, "redis_timeout_s": TIMEOUT_S} | changes
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(run_fake_service(**options)) for _ in range(count)
        ]
        for replica in replicas:
            limits = replica.app.state.shared_limits
            stack.push_async_callback(limits.close)
            await limits.probe()
        yield replicas


async def post(replica: FakeService, items: int = 1, **headers: str) -> httpx.Response:
    path = "/classify/problem" if items == 1 else "/classify/problem/batch"
    body = PROBLEM if items == 1 else {"items": [PROBLEM] * items}
    return await replica.client.post(path, json=body, headers=headers)


async def test_replicas_share_one_bucket(redis: RedisServer) -> None:
    limits = {"rate_limit_items_per_s": NEVER, "rate_limit_burst_items": 6}
    async with run_replicas(redis, 3, **limits) as replicas:
        statuses = [(await post(replicas[number % 3])).status_code for number in range(9)]
        assert statuses == [200] * 6 + [429] * 3
        refused = await post(replicas[0])
        assert int(refused.headers["retry-after"]) > 60
        assert refused.json()["type"] == "urn:ncal-serve:error:rate-limited"


async def test_not_one_item_too_many_however_many_ask_at_once(redis: RedisServer) -> None:
    async with open_limits(redis) as one, open_limits(redis) as other:

        async def charge(number: int) -> bool:
            try:
                return await (one, other)[number % 2].charge("a", 1, None) is not None
            except RateLimited:
                return False

        assert sum(await asyncio.gather(*map(charge, range(60)))) == 10


async def test_a_bucket_refills_and_a_debt_is_paid_off(redis: RedisServer) -> None:
    async with open_limits(redis, items_per_s=200.0, burst_items=5.0) as limits:
        await limits.charge("a", 25, None)  # as here: larger than the burst, and not refused
        with pytest.raises(RateLimited) as refused:
            await limits.charge("a", 1, None)
        assert refused.value.retry_after_s is not None
        assert 0.0 < refused.value.retry_after_s <= 21 / 200
        await Client(
            "a", RateLimit(items_per_s=200.0, burst_items=5.0), shared=limits
        ).wait_and_charge(1)


async def test_replicas_share_the_quota_of_a_key_and_what_is_refused_is_given_back(
    redis: RedisServer,
) -> None:
    keys = ApiKeys.read(f"school:{HASH} items_per_day=6", None)
    bearer = {"Authorization": f"Bearer {KEY}"}
    async with run_replicas(redis, 2, keys=keys) as (one, other):
        assert (await post(one, 4, **bearer)).status_code == 200
        assert (await post(other, 3, **bearer)).status_code == 429
        bad = await other.client.post("/classify/problem", json={"text": 1}, headers=bearer)
        assert bad.status_code == 422
        assert (await post(other, 2, **bearer)).status_code == 200
        refused = await post(one, **bearer)
        assert refused.status_code == 429
        assert "6 items a day" in refused.json()["detail"]


async def test_without_redis_each_replica_counts_and_says_so(redis: RedisServer) -> None:
    limits = {"rate_limit_items_per_s": NEVER, "rate_limit_burst_items": 2}
    async with run_replicas(redis, 2, **limits) as replicas:
        one, other = replicas
        assert (await post(one, 2)).status_code == 200
        assert [(await post(each)).status_code for each in replicas] == [429, 429]
        assert await read_state(one) == ("shared", 1.0)
        redis.stop()
        for each in replicas:
            await each.app.state.shared_limits.probe()
        statuses = [(await post(each)).status_code for each in (one, other) for _ in range(3)]
        assert statuses == [200, 200, 429] * 2
        assert await read_state(one) == ("fallback", 0.0)
        redis.start()
        for each in replicas:
            await each.app.state.shared_limits.probe()
        assert await read_state(one) == ("shared", 1.0)
        assert [(await post(each)).status_code for each in (one, other, one)] == [200, 200, 429]


async def read_state(replica: FakeService) -> tuple[str, float]:
    """What `/models` and the metrics say of limits."""
    said = (await replica.client.get("/models")).json()["limits_counted"]
    (line,) = [
        line
        for line in (await replica.client.get("/metrics")).text.splitlines()
        if line.startswith("ncal_shared_limits_up{")
    ]
    return said, float(line.rpartition(" ")[2])


async def test_a_quota_outlives_a_redis_that_forgets(redis: RedisServer) -> None:
    async with open_limits(redis) as limits:
        quota = DailyQuota()
        client = Client("a", None, quota, 8, limits)
        await client.charge(5)
        redis.stop()
        await client.charge(1)  # counted here, upon what is known of all
        with pytest.raises(RateLimited):
            await client.charge(3)
        redis.start()
        await limits.probe()
        await client.charge(1)
        assert quota.count("a") == 7
        with pytest.raises(RateLimited):
            await Client("a", None, DailyQuota(), 8, limits).charge(2)


async def test_a_redis_that_hangs_holds_nobody_up(redis: RedisServer) -> None:
    async with open_limits(redis) as limits:
        limits._timeout_s = 0.05
        assert redis.process is not None
        os.kill(redis.process.pid, signal.SIGSTOP)
        try:
            assert await limits.charge("a", 1, None) is None
            assert not limits.is_up
            watching = asyncio.create_task(limits.watch())
        finally:
            os.kill(redis.process.pid, signal.SIGCONT)
        limits._timeout_s = TIMEOUT_S
        end = time.monotonic() + 30
        while not limits.is_up and time.monotonic() < end:
            await asyncio.sleep(0.01)
        watching.cancel()
        # The charge that nobody waited for was read when Redis went on.
        assert await limits.charge("a", 1, None) in (1, 2)


async def test_a_client_that_was_refused_is_known_without_a_question(redis: RedisServer) -> None:
    """As the refusal at the head of a request needs it, which cannot wait."""
    async with open_limits(redis, burst_items=1.0) as limits:
        client = Client("a", RateLimit(items_per_s=NEVER, burst_items=1.0), shared=limits)
        client.check()
        await client.charge(1)
        with pytest.raises(RateLimited):
            await client.charge(1)
        with pytest.raises(RateLimited):
            client.check()


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost:6379"])
def test_an_address_that_is_none_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="redis://") as refused:
        read_settings(["--redis-url", url])
    assert url not in str(refused.value)


async def test_an_address_with_a_wrong_port_is_refused_and_not_quoted() -> None:
    with pytest.raises(SettingsError, match="no address of a Redis") as refused:
        async with run_fake_service(redis_url="redis://:secret@localhost:port"):
            pass
    assert "secret" not in str(refused.value)
