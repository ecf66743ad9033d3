"""One engine of each kind for all tests that leave it as they found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.engines import ENGINES, RunningEngine, run_openvino, run_vllm


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=ENGINES)
async def running(request: pytest.FixtureRequest) -> AsyncIterator[RunningEngine]:
    running = run_openvino() if request.param == "openvino" else run_vllm()
    yield running
    await running.engine.shutdown()
