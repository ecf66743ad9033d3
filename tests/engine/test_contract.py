"""What every engine keeps, whatever runtime is behind it: one suite, over all of them.

The engines live as long as the session; the last test ends them. Steps hold one item of
`LONG` tokens, so that what is chosen first can be seen.
"""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.errors import EngineDead, EngineFailed
from service.admission.admission import Admission
from service.admission.fair_queue import Priority
from tests.engine.engines import CHECKPOINT, LONG, RunningEngine, make_prompts

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

PROMPTS = make_prompts(3, 40, 41, 7, 120, 39, LONG, 2)
ALONE = {"openvino": 1e-6, "vllm": 5e-6}
"""How much a probability may depend on what else is computed, in float32."""


def take_softmax(scores: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    powers = np.exp(np.array(scores) - np.max(scores, axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


async def test_the_scores_are_those_of_transformers(running: RunningEngine) -> None:
    found = await asyncio.gather(*map(running.engine.score, PROMPTS))
    model = AutoModelForSequenceClassification.from_pretrained(
        BUNDLED_CHECKPOINT, dtype=torch.float32
    ).eval()
    with torch.no_grad():
        expected = [model(torch.tensor([each])).logits[0].tolist() for each in PROMPTS]
    assert np.abs(take_softmax(found) - take_softmax(expected)).max() < 1e-5
    assert np.abs(np.array(found[0]) - np.array(found[1])).max() > 0.1


async def test_an_answer_does_not_depend_on_what_else_is_computed(running: RunningEngine) -> None:
    alone = [await running.engine.score(prompt) for prompt in PROMPTS]
    together = await asyncio.gather(*map(running.engine.score, [*PROMPTS, *reversed(PROMPTS)]))
    expected = take_softmax([*alone, *reversed(alone)])
    assert np.abs(take_softmax(together) - expected).max() < ALONE[running.name]


async def test_the_urgent_go_first(running: RunningEngine) -> None:
    order: list[int] = []
    prompts = make_prompts(*[LONG] * 7, seed=1)

    async def score(prompt: list[int], priority: int) -> None:
        await running.engine.score(prompt, priority=priority)
        order.append(priority)

    # Before all others, so that these come to a busy engine.
    first = [asyncio.ensure_future(running.engine.score(each, priority=-1)) for each in prompts[4:]]
    await asyncio.sleep(0.01)
    await asyncio.gather(*map(score, prompts, (3, 2, 0, 1)))
    await asyncio.gather(*first)
    assert order == [0, 1, 2, 3]


async def test_nobody_starves_behind_the_urgent(running: RunningEngine) -> None:
    """With the service's queue in front, as it always is."""
    admission = Admission(
        max_waiting_items=100, max_waiting_tokens=100 * LONG,
        max_running_items=100, max_running_tokens=2 * LONG,
    )  # fmt: skip
    prompts = iter(make_prompts(*[LONG] * 100, seed=2))

    async def score(priority: Priority) -> None:
        async with await admission.acquire(tokens=LONG, priority=priority, client="a"):
            await running.engine.score(next(prompts), priority=priority)

    async def hurry() -> None:
        while not bulk.done():
            await score(Priority.LIVE)

    hurrying = [asyncio.ensure_future(hurry()) for _ in range(4)]
    bulk = asyncio.ensure_future(score(Priority.STREAM))
    await bulk  # `prompts` ends before the urgent ones do
    await asyncio.gather(*hurrying)


@pytest.mark.parametrize("how", ["cancelled", "expired"])
async def test_what_nobody_waits_for_is_not_computed(running: RunningEngine, how: str) -> None:
    before = running.count("tokens")
    prompts = make_prompts(*[LONG] * 20, seed=3 if how == "cancelled" else 4)
    kept = [asyncio.ensure_future(running.engine.score(each, priority=-1)) for each in prompts[:3]]
    timeout_s = 0.01 if how == "expired" else None
    left = [
        asyncio.ensure_future(asyncio.wait_for(running.engine.score(each), timeout_s))
        for each in prompts[3:]
    ]
    await asyncio.sleep(0.01)
    if how == "cancelled":
        for each in left:
            each.cancel()
    done = await asyncio.gather(*left, return_exceptions=True)
    assert not [each for each in await asyncio.gather(*kept) if not each]
    ended = asyncio.CancelledError if how == "cancelled" else TimeoutError
    assert len([each for each in done if isinstance(each, ended)]) >= 16
    await running.engine.score(PROMPTS[0])
    assert running.count("tokens") - before < 8 * LONG


async def test_the_event_loop_goes_on_meanwhile(running: RunningEngine) -> None:
    work = asyncio.gather(*map(running.engine.score, make_prompts(*[LONG] * 10, seed=5)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


@pytest.mark.parametrize("length", [0, CHECKPOINT.max_tokens + 1])
async def test_a_prompt_without_a_fitting_length_fails_alone(
    running: RunningEngine, length: int
) -> None:
    with pytest.raises(EngineFailed):
        await running.engine.score([5] * length)
    assert running.engine.is_alive
    assert math.isfinite(sum(await running.engine.score([5])))


async def test_metrics_and_the_moment_of_the_latest_answer_move(running: RunningEngine) -> None:
    items, answered_at = running.count("items"), running.engine.answered_at
    await asyncio.gather(*map(running.engine.score, PROMPTS))
    assert running.count("items") - items == len(PROMPTS)
    assert running.engine.answered_at > answered_at


async def test_a_death_is_noticed_by_all(running: RunningEngine) -> None:
    """The last test: nothing is left of the engine."""
    assert running.engine.is_alive
    works = [
        asyncio.ensure_future(running.engine.score(each))
        for each in make_prompts(*[LONG] * 20, seed=6)
    ]
    await asyncio.sleep(0)
    running.kill()
    done = await asyncio.gather(*works, return_exceptions=True)
    assert {type(each) for each in done} <= {list, EngineDead}
    assert type(done[-1]) is EngineDead
    assert not running.engine.is_alive
    with pytest.raises(EngineDead):
        await running.engine.score([5])
    await running.engine.shutdown()  # of a dead engine: no fault
