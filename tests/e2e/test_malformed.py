"""Ten thousand bodies that are wrong: each gets its explanation, and none does harm."""

import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.malformed_bodies import ANSWERED, SECRET, STREAMS, Malformed, make_malformed
from tests.e2e.service_process import ServiceProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BODIES = 10_000
CLIENTS = 4
GOOD = {"text": "把48个苹果平均分给6个小朋友，每人几个？"}


def test_ten_thousand_malformed_bodies(shared_service: ServiceProcess) -> None:
    url = shared_service.url
    before = httpx.post(f"{url}/classify/problem", json=GOOD, timeout=60).json()
    bodies = make_malformed(BODIES, seed=20_261_120)
    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = [bodies[number::CLIENTS] for number in range(CLIENTS)]
        checked = sum(pool.map(lambda share: check_all(url, share), shares))
    assert checked == BODIES
    after = httpx.post(f"{url}/classify/problem", json=GOOD, timeout=60).json()
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)
    metrics = httpx.get(f"{url}/metrics", timeout=60).text
    assert 'ncal_errors_total{type="internal"} 0.0\n' in metrics
    assert SECRET not in metrics
    assert SECRET not in shared_service.read_log()


def check_all(url: str, requests: Sequence[Malformed]) -> int:
    """Send them one by one over a connection that is kept; return how many were as expected."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    for number, request in enumerate(requests):
        headers = {"Content-Type": request.media_type} if request.media_type else {}
        connection.request("POST", request.path, request.body, headers)
        response = connection.getresponse()
        body = response.read()
        place = f"number {number}: {request.path} {request.media_type} {request.body[:200]!r}"
        assert response.status == request.status, f"{response.status} for {place}"
        assert SECRET.encode() not in body, place
        if response.status == ANSWERED:
            assert all_failed(request, body), place
        else:
            assert response.headers["Content-Type"] == "application/problem+json", place
            problem = json.loads(body)
            assert problem["status"] == response.status, place
            assert problem["type"].startswith("urn:ncal-serve:error:"), place
    connection.close()
    return len(requests)


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
