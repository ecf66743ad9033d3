"""An engine asked from ordinary code: it runs in an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from bulk.rows.answers import Scores
from contract.prompts import Prompt
from engine.batching import order_by_length
from engine.checkpoint import Checkpoint
from engine.choice import EngineChoice, prepare_engine, start_engine
from engine.errors import EngineFailed
from engine.protocol import Engine, EngineOptions

_WAITING_STEPS = 4
"""Steps of the engine that are handed to it ahead, so that it never waits and steps hold items of
like length. More would cost it time to choose from."""


class Scorer(Protocol):
    """Whatever turns prompts into raw logits."""

    def submit(self, prompts: Sequence[Prompt]) -> Future[Scores]:
        """The scores of each prompt, in order; the future may raise EngineDead."""
        ...


class EngineScorer:
    """One engine of ours; `close` ends it."""

    def __init__(
        self, checkpoint: Checkpoint, choice: EngineChoice, options: EngineOptions
    ) -> None:
        """Load the engine: it takes seconds. Raises CheckpointError or EngineRefused."""
        prepare_engine(choice, options.threads)
        self._engine: Engine = start_engine(choice, checkpoint, options)
        self._ahead = _WAITING_STEPS * options.max_batched_tokens
        self._most = _WAITING_STEPS * options.max_batched_items
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scorer", daemon=True)
        self._thread.start()

    def submit(self, prompts: Sequence[Prompt]) -> Future[Scores]:
        """The scores of each prompt, in order; what is submitted later mixes with it."""
        return asyncio.run_coroutine_threadsafe(self._score_all(prompts), self._loop)

    def score(self, prompts: Sequence[Prompt]) -> Scores:
        """The same, waited for."""
        return self.submit(prompts).result()

    def close(self) -> None:
        """Stop the engine and its thread; what is under way is lost."""
        asyncio.run_coroutine_threadsafe(self._engine.shutdown(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _score_all(self, prompts: Sequence[Prompt]) -> Scores:
        scores: list[list[float] | EngineFailed] = [[]] * len(prompts)

        async def score(place: int) -> None:
            try:
                scores[place] = await self._engine.score(prompts[place].token_ids)
            except EngineFailed as error:
                scores[place] = error

        running: set[asyncio.Task[None]] = set()
        tokens = 0
        async with asyncio.TaskGroup() as group:
            for place in order_by_length(prompts):
                size = len(prompts[place].token_ids)
                while running and (tokens + size > self._ahead or len(running) >= self._most):
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    tokens -= sum(int(task.get_name()) for task in done)
                running.add(group.create_task(score(place), name=str(size)))
                tokens += size
        return scores
