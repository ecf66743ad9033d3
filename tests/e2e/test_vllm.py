"""The whole service around vLLM; around the embedded engine it is tested beside this file.

One service for all: starting vLLM is what takes the time. The last test kills its engine.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.service_process import PATIENT, ServiceProcess, start_service, wait_until
from tests.e2e.streams import PROBLEMS, begin_endless_stream, get_address, read_to_end
from tests.service.duplex_client import open_stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TEXTS = [
    "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？",
    "用字母表示长方形的周长公式。",
    "小华每天看书15页，" * 40 + "他一共看了多少页？",
]
DEAD = "urn:ncal-serve:error:engine-dead"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("vllm")
    with start_service(folder, "--engine", "vllm", *PATIENT) as process:
        yield process


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as client:
        yield client


def ask(client: httpx.Client) -> list[dict[str, Any]]:
    body = {"items": [{"text": text} for text in TEXTS]}
    batch = client.post("/classify/problem/batch", json=body).json()
    assert batch["ok"] == len(TEXTS)
    return [result["prediction"] for result in batch["results"]]


def test_it_answers_as_the_embedded_engine_does(
    client: httpx.Client, shared_service: ServiceProcess
) -> None:
    (model,) = client.get("/models").json()["models"]
    assert (model["engine"].partition(" ")[0], model["engine_reason"]) == ("vllm", "asked for")
    with httpx.Client(base_url=shared_service.url, timeout=120) as embedded:
        for ours, theirs in zip(ask(client), ask(embedded), strict=True):
            assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-4)
            assert ours["was_cut"] == theirs["was_cut"]
    metrics = read_metrics(client)
    assert "\nvllm:request_success_total{" in metrics
    assert 'ncal_build_info{engine="vllm",' in metrics


def test_a_hung_engine_trips_readiness_and_comes_back(
    service: ServiceProcess, client: httpx.Client
) -> None:
    (engine,) = service.find_engines()
    os.kill(engine, signal.SIGSTOP)
    try:
        # Seen though nobody asks whether it is ready.
        assert wait_until(lambda: "ncal_canary_failures_total 0.0" not in read_metrics(client))
        assert 'ncal_engine_up{model="ncal-mini"} 0.0' in read_metrics(client)
        assert wait_until(lambda: client.get("/health/ready").status_code == 503)
        headers = {"X-Request-Timeout": "0.5"}
        late = client.post("/classify/problem", json={"text": "好"}, headers=headers)
        assert late.status_code == 504
    finally:
        os.kill(engine, signal.SIGCONT)
    assert wait_until(lambda: 'ncal_engine_up{model="ncal-mini"} 1.0' in read_metrics(client))
    assert client.get("/health/ready").status_code == 200


def read_metrics(client: httpx.Client) -> str:
    return client.get("/metrics").text


def test_a_killed_engine_fails_what_is_pending_and_ends_the_process(
    service: ServiceProcess,
) -> None:
    """A stream, a batch and a single item are under way: what runs, and what still waits."""
    batch, single, results = asyncio.run(kill_under_load(service))
    assert service.process.wait(60) == 3
    assert (single.status_code, single.json()["type"]) == (503, DEAD)
    errors = [each["error"]["type"] for each in batch.json()["results"] if "error" in each]
    assert len(errors) > 256 and set(errors) == {DEAD}
    assert results[-1]["reason"] == "engine-dead"
    assert DEAD in {each["error"]["type"] for each in results if each["status"] == "error"}


async def kill_under_load(
    service: ServiceProcess,
) -> tuple[httpx.Response, httpx.Response, list[dict[str, Any]]]:
    items = [{"text": "长" * 400 + str(number)} for number in range(500)]
    (engine,) = service.find_engines()
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=120) as client,
        open_stream(get_address(service), PROBLEMS) as stream,
    ):
        sending = await begin_endless_stream(stream)
        batch = asyncio.create_task(client.post("/classify/problem/batch", json={"items": items}))
        while await count_waiting(client) < 300:
            await asyncio.sleep(0.01)
        os.kill(engine, signal.SIGSTOP)
        single = asyncio.create_task(client.post("/classify/problem", json={"text": "好"}))
        await asyncio.sleep(0.2)
        # The process ends soon after its engine: who still sends then may hear no more.
        sending.cancel()
        os.kill(engine, signal.SIGKILL)
        results = await read_to_end(stream)
        return await batch, await single, results


async def count_waiting(client: httpx.AsyncClient) -> int:
    queue = (await client.get("/models")).json()["models"][0]["queue"]
    return int(queue["waiting_items"])
