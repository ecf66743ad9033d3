"""Health, life cycle, metrics, logs, traces: what an operator relies on."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.errors import EngineFailed
from service import __version__
from service.access.api_keys import ApiKeys
from service.app import create_app
from service.errors import HTTP_STATUS, EngineDead
from service.exit_codes import ExitCode
from service.http.request_context import Core
from service.observability.logs import JsonFormatter, describe_fault
from service.observability.metrics import MODES, Metrics
from service.readiness import Readiness
from service.settings import Settings
from service.tasks import name_endpoint
from tests.contract.examples import make_manifest
from tests.service.fake_service import FakeService, run_fake_service

PROBLEM = {"text": "小红有七支铅笔，又买了三支，一共有几支？"}


async def read_status(service: FakeService, path: str) -> tuple[int, str]:
    response = await service.client.get(path)
    return response.status_code, response.json().get("type", "").rpartition(":")[2]


def read_metrics(service: FakeService) -> dict[str, float]:
    families = text_string_to_metric_families(service.core.metrics.render().decode())
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in families
        for sample in family.samples
    }


async def test_ready_means_that_the_engine_has_answered() -> None:
    async with run_fake_service() as service:
        assert await read_status(service, "/health/ready") == (200, "")
        assert len(service.engine.scored) == 1
        assert read_metrics(service)['ncal_engine_up{"model": "example"}'] == 1.0


async def test_probes_share_a_fresh_canary() -> None:
    async with run_fake_service(canary_cache_s=60.0) as service:
        probes = (read_status(service, "/health/ready") for _ in range(20))
        assert await asyncio.gather(*probes) == [(200, "")] * 20
        await read_status(service, "/health/ready")
        assert len(service.engine.scored) == 1


async def test_a_hung_engine_trips_readiness_and_comes_back() -> None:
    async with run_fake_service(canary_timeout_s=0.05, canary_cache_s=0.0) as service:
        service.engine.open.clear()
        assert await read_status(service, "/health/ready") == (503, "not-ready")
        assert await read_status(service, "/health/live") == (200, "")
        metrics = read_metrics(service)
        assert metrics['ncal_engine_up{"model": "example"}'] == 0.0
        assert metrics["ncal_canary_failures_total{}"] == 1.0
        assert service.engine.running == 0
        service.engine.open.set()
        assert await read_status(service, "/health/ready") == (200, "")


UP = 'ncal_engine_up{"model": "example"}'
FAILURES = "ncal_canary_failures_total{}"


@asynccontextmanager
async def watch(service: FakeService) -> AsyncIterator[None]:
    """Let the life cycle look after the engines, as the process does."""
    watching = asyncio.create_task(service.core.readiness.watch_engines())
    yield
    assert not watching.done()
    watching.cancel()


async def wait_for(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_hung_engine_is_known_of_though_nobody_probes() -> None:
    settings = {"canary_timeout_s": 0.05, "canary_interval_s": 0.01, "canary_cache_s": 60.0}
    async with run_fake_service(**settings) as service, watch(service):
        await wait_for(lambda: read_metrics(service)[UP] == 1.0)
        service.engine.open.clear()
        await wait_for(lambda: read_metrics(service)[FAILURES] >= 2.0)
        assert read_metrics(service)[UP] == 0.0
        assert await read_status(service, "/health/ready") == (503, "not-ready")
        service.engine.open.set()
        await wait_for(lambda: read_metrics(service)[UP] == 1.0)
        assert await read_status(service, "/health/ready") == (200, "")


async def test_an_engine_that_fails_canary_after_canary_is_the_end() -> None:
    settings = {"canary_timeout_s": 0.05, "canary_interval_s": 0.01, "max_canary_failures": 3}
    async with run_fake_service(canary_cache_s=60.0, **settings) as service:
        watching = asyncio.create_task(service.core.readiness.watch_engines())
        await wait_for(lambda: read_metrics(service)[UP] == 1.0)
        service.engine.open.clear()
        await wait_for(lambda: read_metrics(service)[FAILURES] >= 2.0)
        service.engine.open.set()  # in time: what was counted is forgotten
        await wait_for(lambda: read_metrics(service)[UP] == 1.0)
        failed = read_metrics(service)[FAILURES]
        service.engine.open.clear()
        assert await asyncio.wait_for(watching, 30) is ExitCode.ENGINE_HANGS
        assert read_metrics(service)[FAILURES] >= failed + 3


async def test_real_work_proves_an_engine_and_spares_the_canary() -> None:
    async with run_fake_service(canary_interval_s=60.0, canary_cache_s=60.0) as service:
        assert read_metrics(service)[UP] == 0.0
        assert (await service.client.post("/classify/problem", json=PROBLEM)).status_code == 200
        async with watch(service):
            assert await read_status(service, "/health/ready") == (200, "")
            await asyncio.sleep(0.3)
        assert len(service.engine.scored) == 1
        assert read_metrics(service)[UP] == 1.0


async def test_real_work_after_a_failed_canary_means_ready() -> None:
    async with run_fake_service(canary_cache_s=60.0) as service:
        service.engine.fail = lambda token_ids: EngineFailed("no")
        assert await read_status(service, "/health/ready") == (503, "not-ready")
        service.engine.fail = lambda token_ids: None
        assert (await service.client.post("/classify/problem", json=PROBLEM)).status_code == 200
        assert await read_status(service, "/health/ready") == (200, "")
        assert read_metrics(service)[UP] == 1.0


async def test_a_start_waits_for_an_engine_that_is_slow_at_first() -> None:
    async with run_fake_service(canary_timeout_s=0.05, canary_cache_s=0.01) as service:
        service.engine.open.clear()
        waiting = asyncio.ensure_future(service.core.readiness.wait_until_ready())
        while read_metrics(service)["ncal_canary_failures_total{}"] < 2:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        service.engine.open.set()
        await asyncio.wait_for(waiting, 5)


async def test_a_start_does_not_wait_for_an_engine_that_has_died() -> None:
    async with run_fake_service() as service:
        service.engine.die()
        with pytest.raises(EngineDead):
            await asyncio.wait_for(service.core.readiness.wait_until_ready(), 5)


async def test_an_engine_that_fails_its_canary_is_not_ready() -> None:
    async with run_fake_service() as service:
        service.engine.fail = lambda token_ids: EngineFailed("no")
        assert await read_status(service, "/health/ready") == (503, "not-ready")


async def test_a_dead_engine_fails_what_is_pending_and_all_probes() -> None:
    async with run_fake_service() as service:
        service.engine.open.clear()
        pending = asyncio.ensure_future(service.client.post("/classify/problem", json=PROBLEM))
        batch = asyncio.ensure_future(
            service.client.post("/classify/problem/batch", json={"items": [PROBLEM, PROBLEM]})
        )
        watching = asyncio.ensure_future(service.core.readiness.watch_engines())
        while service.engine.running < 3:
            await asyncio.sleep(0.01)
        service.engine.die()
        assert (await pending).status_code == 503
        assert (await pending).json()["type"] == "urn:ncal-serve:error:engine-dead"
        assert (await batch).json()["failed"] == 2
        assert await read_status(service, "/health/live") == (503, "engine-dead")
        assert await read_status(service, "/health/ready") == (503, "engine-dead")
        await asyncio.wait_for(watching, 5)
        assert read_metrics(service)['ncal_engine_up{"model": "example"}'] == 0.0


async def test_what_waits_for_a_dead_engine_is_told_so() -> None:
    async with run_fake_service(max_batched_items=1) as service:
        service.engine.open.clear()
        body = {"items": [PROBLEM] * 6}
        batch = asyncio.ensure_future(service.client.post("/classify/problem/batch", json=body))
        await wait_for(lambda: service.classifier.read_queues().items == 4)
        service.engine.is_alive = False  # noticed before what runs has failed
        await asyncio.wait_for(service.core.readiness.drain(0.0), 5)
        late = await service.client.post("/classify/problem", json=PROBLEM)
        assert (late.status_code, late.json()["type"].rpartition(":")[2]) == (503, "engine-dead")
        assert await read_status(service, "/health/ready") == (503, "engine-dead")
        service.engine.die()
        results = (await batch).json()["results"]
    assert {result["error"]["type"] for result in results} == {"urn:ncal-serve:error:engine-dead"}


async def test_a_drain_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    async with run_fake_service() as service:
        service.engine.open.clear()
        accepted = asyncio.ensure_future(
            service.client.post("/classify/problem/batch", json={"items": [PROBLEM] * 5})
        )
        while service.engine.running < 5:
            await asyncio.sleep(0.01)
        draining = asyncio.ensure_future(service.core.readiness.drain(30.0))
        await asyncio.sleep(0)
        assert await read_status(service, "/health/ready") == (503, "draining")
        assert await read_status(service, "/health/live") == (200, "")
        late = await service.client.post("/classify/problem", json=PROBLEM)
        assert (late.status_code, late.json()["title"]) == (503, "Shutting down")
        assert not draining.done()
        service.engine.open.set()
        assert (await accepted).json()["ok"] == 5
        await asyncio.wait_for(draining, 5)


async def test_a_drain_ends_when_its_time_is_up() -> None:
    async with run_fake_service() as service:
        service.engine.open.clear()
        stuck = asyncio.ensure_future(service.client.post("/classify/problem", json=PROBLEM))
        while not service.engine.running:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(service.core.readiness.drain(0.05), 5)
        stuck.cancel()
        await service.core.readiness.close()
        assert service.engine.was_shut_down


async def test_while_engines_load_only_liveness_is_given() -> None:
    settings = Settings()
    metrics = Metrics()
    readiness = Readiness(metrics, canary_timeout_s=1.0, canary_cache_s=1.0, canary_interval_s=5.0)
    app = create_app(Core(settings=settings, metrics=metrics, readiness=readiness), ApiKeys({}))
    async with run_fake_service() as other:
        other.client._transport.app = app  # type: ignore[attr-defined]
        assert await read_status(other, "/health/live") == (200, "")
        assert await read_status(other, "/health/ready") == (503, "not-ready")
        response = await other.client.post("/classify/problem", json=PROBLEM)
        assert response.status_code == 503
        assert (await other.client.get("/metrics")).status_code == 200


async def test_metrics_count_what_happened() -> None:
    async with run_fake_service() as service:
        before = read_metrics(service)
        response = await service.client.post("/classify/problem", json=PROBLEM)
        long = {"text": "数" * 500}
        items = [PROBLEM, {"text": ""}, long]
        await service.client.post("/classify/problem/batch", json={"items": items})
        await service.client.post("/classify/problem", json={})
        await service.client.get("/nowhere")
        after = read_metrics(service)
    label = response.json()["label"]

    def grown(name: str, **labels: str) -> float:
        key = name + json.dumps(labels, sort_keys=True)
        assert name.startswith("ncal_http") or key in before, f"{key} does not exist from the start"
        return after[key] - before.get(key, 0.0)

    task = {"model": "example", "task": "timss"}
    assert grown("ncal_items_total", **task, mode="single", outcome="ok") == 1
    assert grown("ncal_items_total", **task, mode="batch", outcome="ok") == 2
    wrong = task | {"mode": "batch", "outcome": "invalid-input"}
    assert after["ncal_items_total" + json.dumps(wrong, sort_keys=True)] == 1
    assert grown("ncal_errors_total", type="invalid-input") == 2
    assert grown("ncal_errors_total", type="not-found") == 1
    route = {"route": "/classify/problem", "method": "POST"}
    assert grown("ncal_http_requests_total", **route, status="200") == 1
    assert grown("ncal_http_requests_total", **route, status="422") == 1
    assert grown("ncal_http_request_duration_seconds_count", **route) == 2
    assert grown("ncal_http_requests_total", route="unmatched", method="GET", status="404") == 1
    assert grown("ncal_request_items_sum", mode="batch") == 3
    assert grown("ncal_inputs_cut_total", **task) == 1
    tokens = sum(map(len, service.engine.scored))
    assert grown("ncal_prompt_tokens_total", **task) == tokens
    assert grown("ncal_predictions_total", **task, label=label) >= 1
    assert grown("ncal_prediction_confidence_count", **task) == 3
    for stage in ("queue", "tokenize", "inference"):
        assert grown("ncal_stage_duration_seconds_count", stage=stage) == 3
    prior = "ncal_training_prior" + json.dumps(task | {"label": "recall"}, sort_keys=True)
    assert after[prior] == pytest.approx(1 / 28)
    info = {"model": "example", "fingerprint": make_manifest().fingerprint, "task": "irf"}
    assert after["ncal_model_info" + json.dumps(info, sort_keys=True)] == 1
    assert after["ncal_build_info" + json.dumps({"engine": "none", "version": __version__})] == 1


async def test_what_alerts_count_exists_before_the_first_error() -> None:
    """A rate over a series that begins with its first error does not see that error."""
    async with run_fake_service() as service:
        series = read_metrics(service)
        described = service.app.openapi()["paths"]
        posted = {name_endpoint(path) for path, methods in described.items() if "post" in methods}
        paths = {path for path in posted if not path.startswith("/files")}  # they label nothing
    slugs = {error.slug for error, status in HTTP_STATUS.items() if status >= 500}
    for task, mode, slug in product(("timss", "irf"), MODES, slugs):
        labels = {"model": "example", "task": task, "mode": mode, "outcome": slug}
        assert series["ncal_items_total" + json.dumps(labels, sort_keys=True)] == 0.0
    assert "/classify/problem" in paths and len(paths) >= 10
    for path, status in product(paths, ("200", "500", "503", "504")):
        labels = {"route": path, "method": "POST", "status": status}
        assert series["ncal_http_requests_total" + json.dumps(labels, sort_keys=True)] == 0.0
        del labels["status"]
        name = "ncal_http_request_duration_seconds_count"
        assert series[name + json.dumps(labels, sort_keys=True)] == 0.0


async def test_the_queue_is_visible_while_it_waits() -> None:
    async with run_fake_service(max_batched_items=1) as service:
        service.engine.open.clear()
        requests = [
            asyncio.ensure_future(service.client.post("/classify/problem", json=PROBLEM))
            for _ in range(5)
        ]
        while service.classifier.read_queues().items < 3:
            await asyncio.sleep(0.01)
        metrics = read_metrics(service)
        models = (await service.client.get("/models")).json()["models"]
        service.engine.open.set()
        await asyncio.gather(*requests)
    assert metrics["ncal_queue_items{}"] == models[0]["queue"]["waiting_items"] == 3
    assert metrics["ncal_running_items{}"] == models[0]["queue"]["running_items"] == 2
    assert metrics["ncal_queue_tokens{}"] == models[0]["queue"]["waiting_tokens"] > 0
    assert metrics["ncal_queue_oldest_seconds{}"] > 0.0


async def test_methods_made_up_by_clients_make_no_series() -> None:
    async with run_fake_service() as service:
        before = set(read_metrics(service))
        for number in range(3):
            await service.client.request(f"MADEUP{number}", "/labels")
        new = [key for key in set(read_metrics(service)) - before if "requests_total" in key]
    assert len(new) == 1 and '"method": "other"' in new[0]


async def test_timing_headers_and_request_id() -> None:
    async with run_fake_service() as service:
        headers = {"X-Request-Id": "lesson-7.a"}
        one = await service.client.post("/classify/problem", json=PROBLEM, headers=headers)
        odd = {"X-Request-Id": "not\tan id"}
        other = await service.client.post("/classify/problem", json=PROBLEM, headers=odd)
    assert one.headers["x-request-id"] == "lesson-7.a"
    assert len(other.headers["x-request-id"]) == 32
    assert int(one.headers["x-prompt-tokens"]) == len(service.engine.scored[0])
    for stage in ("queue", "tokenize", "inference"):
        assert float(one.headers[f"x-{stage}-seconds"]) >= 0.0


async def test_without_spans_of_ours_a_trace_is_passed_on_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with caplog.at_level(logging.INFO, "ncal"):
        async with run_fake_service() as service:
            headers = {"traceparent": f"00-{trace}-{parent}-01"}
            response = await service.client.get("/labels", headers=headers)
            bare = await service.client.get("/labels")
            wrongs = [
                await service.client.get("/labels", headers={"traceparent": wrong})
                for wrong in (
                    "00-x-y-01",
                    f"00-{'0' * 32}-{parent}-01",
                    f"00-{trace}-{'0' * 16}-01",
                    f"ff-{trace}-{parent}-01",
                )
            ]
    assert response.headers["traceparent"] == f"00-{trace}-{parent}-01"
    assert all("traceparent" not in response.headers for response in (bare, *wrongs))
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert lines[0]["traceparent"] == response.headers["traceparent"]


async def test_logs_say_what_happened_and_never_what_was_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "李雷说他不会"
    with caplog.at_level(logging.DEBUG):
        async with run_fake_service() as service:
            await service.client.post("/classify/problem", json={"text": secret})
            await service.client.post("/classify/problem", json={"text": {secret: secret}})
            service.engine.fail = lambda token_ids: RuntimeError(secret)
            response = await service.client.post("/classify/problem", json={"text": secret})
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert response.status_code == 500 and secret not in response.text
    ours = [line for line in lines if line["logger"] == "ncal"]
    assert [line["status"] for line in ours if line["event"] == "request"] == [200, 422, 500]
    fault = next(line for line in ours if line["event"] == "fault")
    assert fault["fault"]["type"] == "builtins.RuntimeError"
    assert any("_run" in place for place in fault["fault"]["places"])
    assert fault["request_id"] == response.headers["x-request-id"]
    assert secret not in json.dumps(lines, ensure_ascii=False)


def test_a_fault_is_described_without_any_message() -> None:
    secret = "student text"
    try:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise ExceptionGroup(secret, [ValueError(secret)]) from error
    except ExceptionGroup as group:
        description = describe_fault(group)
        record = logging.makeLogRecord({"msg": "a\n" + secret, "exc_info": (None, group, None)})
    assert description["cause"]["type"] == "builtins.KeyError"
    assert description["parts"][0]["type"] == "builtins.ValueError"
    assert secret not in json.dumps(description)
    line = JsonFormatter().format(record)
    assert secret not in line and json.loads(line)["event"] == "a"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/classify/nothing", 404),
        ("GET", "/classify/problem", 405),
        ("POST", "/labels", 405),
        ("GET", "/classify/problem/", 404),
    ],
)
async def test_every_error_is_a_problem(method: str, path: str, status: int) -> None:
    async with run_fake_service() as service:
        response = await service.client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "request_id"} <= set(problem)
    if status == 405:
        assert response.headers["allow"] in ("GET, HEAD", "POST")
