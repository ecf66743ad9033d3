"""Keys, exposure, origins, rate limits and headers, over the real server."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.typing import Origin

from service.access.api_keys import ApiKeys, ClientKey, KeyFormatError, make_key
from service.access.identification import (
    ExposureError,
    Identification,
    Security,
    check_exposure,
)
from service.access.rate_limit import Client, RateLimit
from service.errors import RateLimited
from service.http.security_headers import SecurityHeaders
from service.observability.metrics import Metrics
from service.observability.telemetry import Telemetry
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

KEY, HASH = make_key()
OTHER_KEY, OTHER_HASH = make_key()
KEYS = ApiKeys.read(f"school:{HASH}\n{OTHER_HASH}  # no name", None)


async def _name_client(request: Request) -> JSONResponse:
    return JSONResponse({"client": request.state.client.name})


async def _greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.state.client.name)
    await socket.close()


def build_app() -> Starlette:
    paths = ("/labels", "/metrics", "/docs", "/health/live", "/health/ready", "/health/other")
    routes = [Route(path, _name_client, methods=["GET", "POST"]) for path in paths]
    return Starlette(routes=[*routes, WebSocketRoute("/live", _greet)])


def guard(**options: Any) -> SecurityHeaders:
    origins = options.pop("allowed_origins", ())
    security = Security(
        build_app(),
        identification=Identification(options.pop("keys"), **options),
        allowed_origins=origins,
    )
    return SecurityHeaders(Telemetry(security, metrics=Metrics()))


@pytest.fixture
async def guarded() -> AsyncIterator[str]:
    async with serve(guard(keys=KEYS)) as address:
        yield address


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def fetch(address: str, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        return await client.get(path, headers=headers)


async def test_a_key_opens_the_service_and_names_its_client(guarded: str) -> None:
    response = await fetch(guarded, "/labels", **bearer(KEY))
    assert (response.status_code, response.json()) == (200, {"client": "school"})
    response = await fetch(guarded, "/labels", Authorization=f"bearer  {OTHER_KEY}")
    assert (response.status_code, response.json()) == (200, {"client": OTHER_HASH[:8]})


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {HASH}", KEY, f"Basic {KEY}"],
    ids=["nothing", "no key", "too long", "too short", "the hash", "no scheme", "wrong scheme"],
)
async def test_anything_else_is_refused_with_a_problem(guarded: str, value: str) -> None:
    response = await fetch(guarded, "/labels", **({"Authorization": value} if value else {}))
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"] == "urn:ncal-serve:error:unauthorized"
    assert KEY not in response.text


async def test_only_the_probes_are_open(guarded: str) -> None:
    for path in ("/health/live", "/health/ready"):
        assert (await fetch(guarded, path)).status_code == 200
    for path in ("/metrics", "/docs", "/health/other", "/nowhere", "//health/live"):
        assert (await fetch(guarded, path)).status_code == 401


async def test_metrics_are_open_by_choice() -> None:
    app = guard(keys=KEYS, open_metrics=True)
    async with serve(app) as address:
        assert (await fetch(address, "/metrics")).status_code == 200
        assert (await fetch(address, "/labels")).status_code == 401


async def test_without_keys_a_client_is_its_address() -> None:
    async with serve(guard(keys=ApiKeys({}))) as address:
        assert (await fetch(address, "/labels")).json() == {"client": "127.0.0.1"}


async def test_a_large_body_without_a_key_is_not_read(guarded: str) -> None:
    host, port = guarded.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /labels HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    status = await asyncio.wait_for(reader.readline(), timeout=10)
    assert status.startswith(b"HTTP/1.1 401")
    writer.close()


async def test_security_headers_are_on_every_answer(guarded: str) -> None:
    for path, headers in (("/labels", bearer(KEY)), ("/labels", {}), ("/nowhere", bearer(KEY))):
        response = await fetch(guarded, path, **headers)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in response.headers
    docs = await fetch(guarded, "/docs", **bearer(KEY))
    policy = docs.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "script-src" not in policy


async def test_a_websocket_needs_a_key_too(guarded: str) -> None:
    async with websockets.connect(f"ws://{guarded}/live", additional_headers=bearer(KEY)) as live:
        assert await live.recv() == "school"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://{guarded}/live")
    assert refused.value.response.status_code == 401
    assert b"urn:ncal-serve:error:unauthorized" in (refused.value.response.body or b"")


async def test_a_refused_websocket_is_no_fault_of_the_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serve(guard(keys=KEYS)) as address:
        for _ in range(3):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(f"ws://{address}/live")
        await asyncio.sleep(0.2)  # the log is written after the answer
    assert capsys.readouterr().err == ""


async def test_a_foreign_page_cannot_open_a_websocket() -> None:
    app = guard(keys=ApiKeys({}), allowed_origins=["https://school.example"])
    async with serve(app) as address:
        for origin in (f"http://{address}", "https://school.example"):
            async with websockets.connect(f"ws://{address}/live", origin=Origin(origin)) as live:
                assert await live.recv() == "127.0.0.1"
        for origin in ("https://evil.example", "null", f"http://{address}.evil.example"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"ws://{address}/live", origin=Origin(origin))
            assert refused.value.response.status_code == 403


def test_keys_come_from_file_and_setting(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# staff\n\nschool: {HASH.upper()}\n", encoding="utf-8")
    keys = ApiKeys.read(f"lab:{OTHER_HASH},", file)
    assert len(keys) == 2
    assert keys.find_client(KEY.encode()) == ClientKey(name="school")
    assert keys.find_client(OTHER_KEY.encode()) == ClientKey(name="lab")
    assert keys.find_client(HASH.encode()) is None


@pytest.mark.parametrize(
    "entry",
    [KEY, HASH[:-1], f"a b:{HASH}", f"{HASH},{HASH}", f"a:{HASH},a:{OTHER_HASH}", f"a:{KEY}"],
    ids=["key", "short hash", "client with space", "one hash twice", "one client twice", "no hash"],
)
def test_an_unusable_entry_is_named_by_line_and_never_quoted(entry: str) -> None:
    with pytest.raises(KeyFormatError, match="api_key_hashes, line 2") as error:
        ApiKeys.read(f"# first\n{entry}", None)
    assert entry not in str(error.value)


def test_a_key_file_that_cannot_be_read_names_the_remedy(tmp_path: Path) -> None:
    """Most often its owner is another than the container's user."""
    with pytest.raises(KeyFormatError, match=r"cannot be read \(FileNotFoundError\); .*chown"):
        ApiKeys.read("", tmp_path / "missing")


def test_a_key_file_without_a_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none\n", encoding="utf-8")
    for name in ("keys", "missing"):
        with pytest.raises(KeyFormatError, match=name):
            ApiKeys.read("", tmp_path / name)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_other_bytes_are_a_key(key: bytes) -> None:
    assert KEYS.find_client(key) is None


def test_the_command_makes_a_key_whose_hash_it_prints() -> None:
    command = [sys.executable, "-m", "service.access.api_keys", "school"]
    key_line, entry_line = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    key = key_line.rpartition(" ")[2]
    entry = entry_line.rpartition(" ")[2]
    assert entry == "school:" + hashlib.sha256(key.encode()).hexdigest()
    assert ApiKeys.read(entry, None).find_client(key.encode()) == ClientKey(name="school")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_key(host: str) -> None:
    check_exposure(host, ApiKeys({}), allow_no_key=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "serve.example"])
def test_a_public_address_needs_a_key_or_a_loud_word(host: str) -> None:
    with pytest.raises(ExposureError, match="--allow-no-key"):
        check_exposure(host, ApiKeys({}), allow_no_key=False)
    check_exposure(host, ApiKeys({}), allow_no_key=True)
    check_exposure(host, KEYS, allow_no_key=False)


def test_a_bucket_refills_with_time_and_is_each_clients_own() -> None:
    now = 0.0
    limit = RateLimit(items_per_s=2.0, burst_items=10.0, clock=lambda: now)
    limit.charge("a", 10)
    with pytest.raises(RateLimited) as refused:
        limit.charge("a", 1)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    limit.charge("b", 10)
    now = 0.5
    limit.charge("a", 1)
    now = 1000.0
    limit.charge("a", 10)
    with pytest.raises(RateLimited):
        limit.charge("a", 1)


def test_a_batch_above_the_burst_is_paid_off_not_refused_for_ever() -> None:
    now = 0.0
    limit = RateLimit(items_per_s=10.0, burst_items=5.0, clock=lambda: now)
    limit.charge("a", 105)
    with pytest.raises(RateLimited) as refused:
        limit.charge("a", 1)
    assert refused.value.retry_after_s == pytest.approx(10.1)
    now = 10.1
    limit.charge("a", 1)


def test_buckets_of_many_clients_take_bounded_memory() -> None:
    limit = RateLimit(items_per_s=1.0, burst_items=1.0)
    for number in range(10_500):
        limit.charge(f"client {number}", 1)
    assert len(limit._buckets) == 10_000
    with pytest.raises(RateLimited):
        limit.charge("client 10499", 1)


async def test_a_stream_waits_for_its_rate_limit() -> None:
    limit = RateLimit(items_per_s=200.0, burst_items=1.0)
    client = Client("a", limit)
    await client.wait_and_charge(5)
    started = asyncio.get_running_loop().time()
    await client.wait_and_charge(1)
    assert asyncio.get_running_loop().time() - started >= 0.02


def test_a_limit_that_lets_nothing_through_cannot_be_set() -> None:
    for items_per_s, burst_items in ((0.0, 5.0), (1.0, 0.5)):
        with pytest.raises(ValueError, match="items_per_s"):
            RateLimit(items_per_s=items_per_s, burst_items=burst_items)


async def test_the_whole_service_is_guarded() -> None:
    problem = {"text": "1 + 1 = ?"}
    async with run_fake_service(keys=KEYS) as service:
        for path in ("/labels", "/models", "/metrics", "/openapi.json"):
            assert (await service.client.get(path)).status_code == 401
        for path in ("/classify/problem", "/classify/problem/stream", "/classify/dialogue"):
            assert (await service.client.post(path, json=problem)).status_code == 401
        assert not service.engine.scored
        response = await service.client.post("/classify/problem", json=problem, headers=bearer(KEY))
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_key_that_sends_too_much_is_told_when_to_come_back() -> None:
    limits = {"rate_limit_items_per_s": 0.5, "rate_limit_burst_items": 2}
    batch = {"items": [{"text": "1"}] * 2}
    async with run_fake_service(keys=KEYS, **limits) as service:
        statuses = []
        for key in (KEY, KEY, OTHER_KEY):
            url = "/classify/problem/batch"
            response = await service.client.post(url, json=batch, headers=bearer(key))
            statuses.append(response.status_code)
            if response.status_code == 429:
                assert 1 <= int(response.headers["retry-after"]) <= 2
        assert statuses == [200, 429, 200]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/classify/problem", b'{"text": "x"}', 503),
        ("/classify/problem/batch", b'{"items": [{"text": "x"}]}', 503),
        ("/classify/problem", b'{"text": 1}', 422),
        ("/classify/problem", b" " * 2000, 413),
        ("/classify/nothing", b"", 404),
    ],
)
async def test_what_is_refused_is_not_charged(path: str, body: bytes, status: int) -> None:
    limits = {"rate_limit_items_per_s": 0.001, "rate_limit_burst_items": 2}
    sizes = {"max_body_bytes": 1024, "max_waiting_items": 2}
    async with run_fake_service(**limits, **sizes) as service:
        admission = service.classifier.models[0].admission
        if status == 503:
            admission.draining.set()
        headers = {"content-type": "application/json"}
        statuses = [
            (await service.client.post(path, content=body, headers=headers)).status_code
            for _ in range(4)
        ]
        assert statuses == [status] * 4
        admission.draining.clear()
        url = "/classify/problem"
        found = [(await service.client.post(url, json={"text": "x"})) for _ in range(3)]
        assert [each.status_code for each in found] == [200, 200, 429]


async def test_any_origin_is_any_origin_for_websockets_too() -> None:
    async with serve(guard(keys=ApiKeys({}), allowed_origins=["*"])) as address:
        origin = Origin("https://evil.example")
        async with websockets.connect(f"ws://{address}/live", origin=origin) as live:
            assert await live.recv() == "127.0.0.1"


async def test_other_origins_are_let_in_by_choice_only() -> None:
    preflight = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST"}
    async with run_fake_service(keys=KEYS) as service:
        response = await service.client.options("/classify/problem", headers=preflight)
        assert response.status_code == 401
        assert "access-control-allow-origin" not in response.headers
    async with run_fake_service(keys=KEYS, cors_origins="https://school.example") as service:
        response = await service.client.options("/classify/problem", headers=preflight)
        assert response.headers["access-control-allow-origin"] == "https://school.example"
        response = await service.client.get("/labels", headers=preflight)
        assert response.status_code == 401
        assert response.headers["access-control-allow-origin"] == "https://school.example"


@pytest.mark.parametrize(
    "arguments",
    [["--host", "0.0.0.0"], ["--api-key-hashes", "none"], ["--api-key-file", "missing"]],
)
def test_the_service_refuses_to_start_open_or_with_unusable_keys(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "service", "--port", "0", *arguments]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert refused.stderr.startswith("service: ") and refused.stderr.count("\n") == 1
    assert "`ncal key`" in refused.stderr or "missing" in refused.stderr
