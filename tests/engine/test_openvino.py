"""What only the embedded engine does; what every engine does is in `test_contract`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from contract.manifest import CheckpointError
from engine.checkpoint import Checkpoint
from engine.errors import EngineDead, EngineRefused
from engine.openvino import OpenVinoEngine, start_engine
from engine.protocol import Dtype
from tests.engine.engines import CHECKPOINT, LONG, make_options, make_prompts


def start(checkpoint: Checkpoint = CHECKPOINT, **changes: Any) -> OpenVinoEngine:
    return start_engine(checkpoint, make_options(**changes))


@pytest.fixture
async def engine() -> AsyncIterator[OpenVinoEngine]:
    """With two streams, of which each computes a step of two long items."""
    engine = start(threads=2, max_batched_tokens=4 * LONG)
    yield engine
    await engine.shutdown()


def read_samples(engine: OpenVinoEngine) -> dict[str, float]:
    return {
        sample.name: sample.value
        for metric in engine.collectors.collect()
        for sample in metric.samples
        if set(sample.labels) == {"model"}
    }


async def test_what_comes_together_is_divided_among_the_streams(engine: OpenVinoEngine) -> None:
    prompts = make_prompts(*[40] * 20)
    together = await asyncio.gather(*map(engine.score, prompts))
    samples = read_samples(engine)
    assert samples["ncal_engine_step_items_sum"] == 20
    # Both were idle; the half of one that is slow to wake may be taken in parts.
    assert 2 <= samples["ncal_engine_step_items_count"] <= 6
    assert samples["ncal_engine_tokens_total"] == 800
    assert samples["ncal_engine_padding_tokens_total"] == 0
    alone = [await engine.score(prompt) for prompt in prompts]
    assert np.abs(np.array(alone) - np.array(together)).max() < 1e-5


async def test_a_stream_that_fails_is_the_death_of_all(engine: OpenVinoEngine) -> None:
    good = engine._requests[0]

    class Broken:
        def infer(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("no")

    engine._requests = [good, Broken()]
    works = map(engine.score, make_prompts(*[LONG] * 40))
    done = await asyncio.gather(*works, return_exceptions=True)
    assert {type(each) for each in done} <= {list, EngineDead}
    assert type(done[-1]) is EngineDead
    assert not engine.is_alive


async def test_what_waits_when_it_stops_is_told(engine: OpenVinoEngine) -> None:
    tasks = [asyncio.ensure_future(engine.score(each)) for each in make_prompts(*[LONG] * 40)]
    await asyncio.sleep(0.01)
    await engine.shutdown()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in done} <= {list, EngineDead}
    assert any(isinstance(each, EngineDead) for each in done)
    with pytest.raises(EngineDead):
        await engine.score([5])


@pytest.mark.parametrize("dtype", ["float16"])
def test_an_arithmetic_it_does_not_have_is_refused(dtype: Dtype) -> None:
    with pytest.raises(EngineRefused, match="--dtype float32"):
        start(dtype=dtype)


def test_a_graph_that_the_manifest_does_not_vouch_for_is_refused() -> None:
    manifest = CHECKPOINT.manifest.model_copy(update={"graph_sha256": None})
    unknown = Checkpoint(directory=CHECKPOINT.directory, manifest=manifest)
    with pytest.raises(CheckpointError, match=r"does not vouch .*--onnx-only"):
        start(unknown)
