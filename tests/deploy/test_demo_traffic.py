"""The light traffic of the demo: every way in gets some, and nothing is refused but the mistake."""

import asyncio
import random

import pytest

from deploy.demo_traffic import Client, make_requests, run_round
from service.access.api_keys import ApiKeys
from service.observability.metrics import MODES
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

ROUNDS = 12
"""A mistake is made in one of five."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.demo_traffic.time.sleep", lambda duration_s: None)


async def test_a_minute_of_it_moves_every_way_in_and_fails_by_the_mistake_alone() -> None:
    async with run_fake_service() as service, serve(service.app) as address:
        client, chance = Client(f"http://{address}"), random.Random(3)
        for _ in range(ROUNDS):
            await asyncio.to_thread(run_round, client, chance)
        metrics = service.core.metrics
        answered = {
            sample.labels["mode"]
            for family in metrics.items.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["outcome"] == "ok" and sample.value
        }
        assert answered == set(MODES)
        errors = {
            sample.labels["type"]
            for family in metrics.errors.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.value
        }
        assert errors == {"invalid-input"}


async def test_without_a_key_it_ends_and_says_what_it_wants() -> None:
    keys = ApiKeys({"a" * 64: "school"})
    async with run_fake_service(keys=keys) as service, serve(service.app) as address:
        with pytest.raises(SystemExit, match="DEMO_API_KEY"):
            await asyncio.to_thread(run_round, Client(f"http://{address}"), random.Random(3))


def test_a_round_is_light() -> None:
    chance = random.Random(3)
    for _ in range(ROUNDS):
        assert sum(len(body) for _, body, _ in make_requests(chance)) < 10_000
