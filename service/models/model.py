"""A loaded checkpoint: its engine, the queue in front of it, and who still needs it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from contract.manifest import Task
from contract.prompts import PromptEncoder
from engine import errors as engine_errors
from engine.checkpoint import Checkpoint
from engine.choice import EngineChoice
from engine.protocol import Engine
from service.admission.admission import Admission
from service.errors import EngineDead, EngineFailed


class Holders:
    """Counts who needs a model: from when it was chosen until the last of it is answered."""

    def __init__(self) -> None:
        self._count = 0
        self._is_free = asyncio.Event()
        self._is_free.set()

    def enter(self) -> None:
        self._count += 1
        self._is_free.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._is_free.set()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Need it inside the block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    async def wait_until_free(self) -> None:
        """Return when nobody needs it."""
        while self._count:
            await self._is_free.wait()


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A loaded checkpoint with its engine and the queue in front of it."""

    checkpoint: Checkpoint
    engine: Engine
    choice: EngineChoice
    admission: Admission
    encoders: dict[str, PromptEncoder]
    """By task name."""
    holders: Holders = field(default_factory=Holders)

    @property
    def name(self) -> str:
        return self.checkpoint.name

    @cached_property
    def fingerprint(self) -> str:
        return self.checkpoint.manifest.fingerprint

    async def score(self, token_ids: list[int], *, priority: int) -> list[float]:
        """Return the engine's raw logits of all rows; its errors become the service's."""
        try:
            return await self.engine.score(token_ids, priority=priority)
        except engine_errors.EngineFailed as error:
            raise EngineFailed(str(error)) from error
        except engine_errors.EngineDead as error:
            raise EngineDead(str(error)) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedTask:
    """A task and the model that serves it."""

    task: Task
    model: Model

    @property
    def name(self) -> str:
        return self.task.label_set.task
