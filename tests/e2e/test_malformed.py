"""Thousands of bodies that are wrong or meant to hurt: each gets its answer, and none does harm.

`--bodies 100000` (`make fuzz`) asks for more than `make test` does.
"""

import http.client
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.hostile_bodies import Hostile, make_hostile, make_messages
from tests.e2e.malformed_bodies import ANSWERED, SECRET, STREAMS, Malformed, make_malformed
from tests.e2e.service_process import ServiceProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AT_ONCE = 5000
"""Of them 500 are made by `test_fuzz.py`."""
CLIENTS = 4
GOOD = {"text": "把48个苹果平均分给6个小朋友，每人几个？"}
ENDINGS = ("end", "not-json", "unknown-message", "message-too-large")
MIB = 2**20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(-(-metafunc.config.getoption("--bodies") // AT_ONCE)))


def test_malformed_bodies(shared_service: ServiceProcess, seed: int) -> None:
    with unharmed(shared_service):
        bodies = make_malformed(AT_ONCE // 2, seed=20_261_120 + seed)
        assert send_all(shared_service.url, bodies, check_malformed) == len(bodies)


def test_hostile_bodies(shared_service: ServiceProcess, seed: int) -> None:
    with unharmed(shared_service):
        bodies = make_hostile(AT_ONCE * 2 // 5, seed=seed)
        assert send_all(shared_service.url, bodies, check_hostile) == len(bodies)


def test_hostile_messages(shared_service: ServiceProcess) -> None:
    """A live dialogue answers each, or ends and says why."""
    url = shared_service.url.replace("http", "ws") + "/classify/dialogue/live"
    with unharmed(shared_service):
        for name, message in make_messages(100_000):
            with connect(url, max_size=MIB) as live:
                assert json.loads(live.recv())["type"] == "ready"
                live.send(message.decode("utf-8", "replace"))
                with suppress(ConnectionClosed):
                    live.send('{"type": "end"}')
                assert read_to_end(live) in ENDINGS, name


def read_to_end(live: ClientConnection) -> str:
    while (message := json.loads(live.recv(60)))["type"] != "end":
        assert message["type"] in ("label", "error", "pong")
    return str(message["reason"])


@contextmanager
def unharmed(service: ServiceProcess) -> Iterator[None]:
    """What was answered before is answered after, and nothing was told or counted as a fault."""
    before = httpx.post(f"{service.url}/classify/problem", json=GOOD, timeout=60).json()
    yield
    after = httpx.post(f"{service.url}/classify/problem", json=GOOD, timeout=60).json()
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)
    metrics = httpx.get(f"{service.url}/metrics", timeout=60).text
    assert 'ncal_errors_total{type="internal"} 0.0\n' in metrics
    assert SECRET not in metrics
    assert SECRET not in service.read_log()


def send_all(url: str, requests: Sequence[Any], check: Any) -> int:
    """Send them over a few connections that are kept; return how many were as expected."""

    def send(share: Sequence[Any]) -> int:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        for request in share:
            headers = {"Content-Type": request.media_type} if request.media_type else {}
            connection.request("POST", request.path, request.body, headers)
            response = connection.getresponse()
            check(request, response, response.read())
        connection.close()
        return len(share)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(send, [requests[number::CLIENTS] for number in range(CLIENTS)]))


def check_malformed(request: Malformed, response: http.client.HTTPResponse, body: bytes) -> None:
    place = f"{request.path} {request.media_type} {request.body[:200]!r}"
    assert response.status == request.status, f"{response.status} for {place}"
    assert SECRET.encode() not in body, place
    if response.status == ANSWERED:
        assert all_failed(request, body), place
    else:
        check_error(response, body, place)


def check_hostile(request: Hostile, response: http.client.HTTPResponse, body: bytes) -> None:
    """Answered, refused for what it is, or for what there is to do."""
    if not request.path.startswith("/classify/"):  # the protocols of others have forms of theirs
        assert response.status in (200, 400, 413, 422, 429, 503), request.name
        assert response.status == ANSWERED or len(body) < 16 * 1024, request.name
        return
    assert response.status in (200, 413, 422, 503), f"{response.status} for {request.name}"
    if response.status != ANSWERED:
        check_error(response, body, request.name)
        assert len(body) < 16 * 1024, request.name
    if response.status == 503:
        assert response.headers["Retry-After"], request.name


def check_error(response: http.client.HTTPResponse, body: bytes, place: str) -> None:
    assert response.headers["Content-Type"] == "application/problem+json", place
    problem = json.loads(body)
    assert problem["status"] == response.status, place
    assert problem["type"].startswith("urn:ncal-serve:error:"), place


def all_failed(request: Malformed, body: bytes) -> bool:
    """Whether a batch or a stream was answered with an error for each of its items."""
    if request.path in STREAMS:
        *results, end = (json.loads(line) for line in body.splitlines())
        assert end["failed"] == len(results)
    else:
        answer: dict[str, Any] = json.loads(body)
        results = answer["results"]
    return all(
        result["status"] == "error" and result["error"]["status"] in (413, 422)
        for result in results
    )
