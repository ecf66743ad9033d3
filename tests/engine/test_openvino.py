"""The embedded engine itself, with the bundled checkpoint."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from contract.manifest import CheckpointError
from engine.checkpoint import BUNDLED_CHECKPOINT, Checkpoint, load_checkpoints
from engine.errors import EngineDead, EngineFailed, EngineRefused
from engine.openvino import OpenVinoEngine, start_engine
from engine.protocol import Dtype, EngineOptions

(CHECKPOINT,) = load_checkpoints([BUNDLED_CHECKPOINT])
RANDOM = np.random.default_rng(0)
PROMPTS = [RANDOM.integers(5, 4000, length).tolist() for length in (3, 40, 41, 7, 120, 39, 256, 2)]
LONG = PROMPTS[6]


def start(checkpoint: Checkpoint = CHECKPOINT, **changes: Any) -> OpenVinoEngine:
    options: dict[str, Any] = {
        "dtype": "float32", "threads": 1, "max_batched_tokens": 1024, "max_batched_items": 128,
        "kv_cache_mib": 16, "gpu_memory_fraction": 0.9, **changes,
    }  # fmt: skip
    return start_engine(checkpoint, EngineOptions(**options))


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVinoEngine]:
    engine = start()
    yield engine
    asyncio.run(engine.shutdown())


@pytest.fixture
async def own_engine() -> AsyncIterator[OpenVinoEngine]:
    """One that a test may stop or break; its steps hold one long item."""
    engine = start(max_batched_tokens=256)
    yield engine
    await engine.shutdown()


def to_probabilities(scores: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    powers = np.exp(np.array(scores) - np.max(scores, axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def read_samples(engine: OpenVinoEngine) -> dict[str, float]:
    return {
        sample.name: sample.value
        for metric in engine.collectors.collect()
        for sample in metric.samples
        if set(sample.labels) == {"model"}
    }


async def test_the_scores_are_those_of_transformers(engine: OpenVinoEngine) -> None:
    found = await asyncio.gather(*map(engine.score, PROMPTS))
    model = AutoModelForSequenceClassification.from_pretrained(
        BUNDLED_CHECKPOINT, dtype=torch.float32
    ).eval()
    with torch.no_grad():
        expected = [model(torch.tensor([each])).logits[0].tolist() for each in PROMPTS]
    assert np.abs(to_probabilities(found) - to_probabilities(expected)).max() < 1e-5
    assert np.abs(np.array(found[0]) - np.array(found[1])).max() > 0.1


async def test_an_answer_does_not_depend_on_what_else_is_computed(engine: OpenVinoEngine) -> None:
    alone = [await engine.score(prompt) for prompt in PROMPTS]
    together = await asyncio.gather(*map(engine.score, [*PROMPTS, *reversed(PROMPTS)]))
    expected = to_probabilities([*alone, *reversed(alone)])
    assert np.abs(to_probabilities(together) - expected).max() < 1e-6


async def test_what_comes_together_is_computed_together(engine: OpenVinoEngine) -> None:
    before = read_samples(engine)
    await asyncio.gather(*(engine.score(PROMPTS[1]) for _ in range(20)))
    after = read_samples(engine)
    assert after["ncal_engine_step_items_sum"] - before["ncal_engine_step_items_sum"] == 20
    assert after["ncal_engine_step_items_count"] - before["ncal_engine_step_items_count"] <= 2
    assert after["ncal_engine_tokens_total"] - before["ncal_engine_tokens_total"] == 800
    assert after["ncal_engine_padding_tokens_total"] == before["ncal_engine_padding_tokens_total"]


async def test_the_urgent_go_first(own_engine: OpenVinoEngine) -> None:
    order: list[int] = []

    async def score(priority: int) -> None:
        await own_engine.score(LONG, priority=priority)
        order.append(priority)

    first = asyncio.ensure_future(own_engine.score(LONG))  # takes the step meanwhile
    await asyncio.sleep(0.01)
    await asyncio.gather(*(score(priority) for priority in (3, 2, 0, 1)))
    await first
    assert order == [0, 1, 2, 3]


async def test_what_is_cancelled_is_not_computed(own_engine: OpenVinoEngine) -> None:
    tasks = [asyncio.ensure_future(own_engine.score(LONG)) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in tasks[3:]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in done[:3] if isinstance(each, BaseException)]
    assert all(isinstance(each, asyncio.CancelledError) for each in done[3:])
    await own_engine.score(PROMPTS[0])
    assert read_samples(own_engine)["ncal_engine_step_items_sum"] < 10


async def test_the_event_loop_goes_on_meanwhile(own_engine: OpenVinoEngine) -> None:
    work = asyncio.gather(*(own_engine.score(LONG) for _ in range(20)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


@pytest.mark.parametrize("length", [0, CHECKPOINT.max_tokens + 1])
async def test_a_prompt_without_a_fitting_length_fails_alone(
    engine: OpenVinoEngine, length: int
) -> None:
    with pytest.raises(EngineFailed):
        await engine.score([5] * length)
    assert engine.is_alive
    assert math.isfinite(sum(await engine.score([5])))


async def test_a_runtime_that_fails_is_the_engine_s_death(own_engine: OpenVinoEngine) -> None:
    class Broken:
        def infer(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("no")

    await own_engine.score(PROMPTS[0])
    assert own_engine.is_alive and own_engine.answered_at > 0
    own_engine._request = Broken()
    works = [own_engine.score(LONG) for _ in range(5)]
    done = await asyncio.gather(*works, return_exceptions=True)
    assert [type(each) for each in done] == [EngineDead] * 5
    assert not own_engine.is_alive
    with pytest.raises(EngineDead):
        await own_engine.score([5])


async def test_what_waits_when_it_stops_is_told(own_engine: OpenVinoEngine) -> None:
    tasks = [asyncio.ensure_future(own_engine.score(LONG)) for _ in range(20)]
    await asyncio.sleep(0.01)
    await own_engine.shutdown()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in done} <= {list, EngineDead}
    assert any(isinstance(each, EngineDead) for each in done)


@pytest.mark.parametrize("dtype", ["float16"])
def test_an_arithmetic_it_does_not_have_is_refused(dtype: Dtype) -> None:
    with pytest.raises(EngineRefused, match="--dtype float32"):
        start(dtype=dtype)


def test_a_graph_that_the_manifest_does_not_vouch_for_is_refused() -> None:
    manifest = CHECKPOINT.manifest.model_copy(update={"graph_sha256": None})
    unknown = Checkpoint(directory=CHECKPOINT.directory, manifest=manifest)
    with pytest.raises(CheckpointError, match=r"does not vouch .*--onnx-only"):
        start(unknown)
