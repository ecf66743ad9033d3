"""How vLLM's ways of failing become ours; the real engine is in `tests/e2e`."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from engine.errors import EngineDead, EngineFailed
from engine.vllm.engine import VllmEngine


class FakeLlm:
    """Stands for `AsyncLLM`: gives one output, or fails, or hangs."""

    def __init__(self, scores: list[float] | None, error: Exception | None = None) -> None:
        self.scores = scores
        self.error = error
        self.errored = False
        self.asked: dict[str, Any] = {}
        self.request_ids: list[str] = []
        self.was_cancelled = False

    async def encode(
        self, prompt: Any, pooling_params: Any, request_id: str, *, priority: int
    ) -> AsyncIterator[Any]:
        self.asked = {"prompt": prompt, "params": pooling_params, "priority": priority}
        self.request_ids.append(request_id)
        if self.error:
            raise self.error
        if self.scores is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
        yield SimpleNamespace(outputs=SimpleNamespace(data=torch.tensor(self.scores)))


def make_engine(scores: list[float] | None, error: Exception | None = None) -> tuple[Any, FakeLlm]:
    llm: Any = FakeLlm(scores, error)
    return VllmEngine(llm, classes=3, collectors=CollectorRegistry()), llm


async def test_raw_logits_are_asked_for_by_token_ids() -> None:
    engine, llm = make_engine([1.0, 2.0, 3.0])
    assert await engine.score([5, 6], priority=2) == [1.0, 2.0, 3.0]
    await engine.score([5, 6])
    assert llm.asked["prompt"]["prompt_token_ids"] == [5, 6]
    assert (llm.asked["params"].task, llm.asked["params"].use_activation) == ("classify", False)
    assert len(set(llm.request_ids)) == 2


async def test_an_aborted_request_is_no_answer() -> None:
    """vLLM ends it as if all were well, with an empty tensor."""
    engine, _ = make_engine([])
    with pytest.raises(EngineFailed):
        await engine.score([5])


@pytest.mark.parametrize("error", [EngineGenerateError(), ValueError("text"), RuntimeError("x")])
async def test_a_failure_is_the_item_s_while_the_engine_lives(error: Exception) -> None:
    engine, llm = make_engine([1.0, 2.0, 3.0], error)
    with pytest.raises(EngineFailed) as caught:
        await engine.score([5])
    assert str(caught.value) == "the engine could not compute this item"
    llm.errored = True
    with pytest.raises(EngineDead):
        await engine.score([5])
    assert not engine.is_alive


async def test_a_dead_engine_is_dead_for_all() -> None:
    engine, _ = make_engine(None, EngineDeadError())
    with pytest.raises(EngineDead):
        await engine.score([5])


async def test_whoever_stops_waiting_cancels_the_work() -> None:
    engine, llm = make_engine(None)
    work = asyncio.ensure_future(engine.score([5]))
    while not llm.request_ids:
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert llm.was_cancelled
