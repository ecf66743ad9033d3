"""The whole API, fuzzed from its own document: no 5xx, and no answer it does not announce."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from service.access.api_keys import ApiKeys
from service.app import create_app
from service.http.request_context import Core
from service.observability.metrics import Metrics
from service.readiness import Readiness
from service.settings import Settings
from service.tasks import is_unversioned
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

pytestmark = pytest.mark.slow

# A stream's body is lines, which the fuzzer cannot make: `test_stream.py` misuses it instead.
_UNREADABLE = "/stream"


class ServedInThread:
    """The service with a fake engine, in an event loop of its own."""

    def __init__(self) -> None:
        self.address = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with run_fake_service() as service, serve(service.app) as self.address:
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> "ServedInThread":
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def api() -> Iterator[schemathesis.BaseSchema]:
    with ServedInThread() as server:
        yield schemathesis.openapi.from_url(f"http://{server.address}/openapi.json")


def find_operations() -> list[tuple[str, str, GenerationMode]]:
    """Every method and endpoint of the document but the streams, with right and wrong requests."""
    metrics = Metrics()
    readiness = Readiness(metrics, canary_timeout_s=1.0, canary_cache_s=1.0, canary_interval_s=5.0)
    core = Core(settings=Settings(), metrics=metrics, readiness=readiness)
    document = create_app(core, ApiKeys({})).openapi()
    return [
        (method, path, mode)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if not path.endswith(_UNREADABLE)
        and not is_unversioned(path)
        and (mode is GenerationMode.POSITIVE or "requestBody" in operation)
    ]


def check_for_faults(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """A deadline too short to keep is the caller's own; any other 5xx is a fault of ours."""
    is_own_wish = "X-Request-Timeout" in case.headers and response.status_code == 504
    assert response.status_code < 500 or is_own_wish, response.text


@pytest.mark.parametrize(("method", "path", "mode"), find_operations())
def test_the_api_keeps_its_word(
    api: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    operation = api[path][method]
    checks = [
        check_for_faults,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    # A batch takes wrong items and answers them one by one; in a form everything is a text.
    if not path.endswith("/batch") and not path.startswith("/files/"):
        checks.append(negative_data_rejection)

    examples = 8 if path.startswith("/files/") else 30  # each starts a process

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks, timeout=60)

    check()
