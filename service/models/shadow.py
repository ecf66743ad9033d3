"""A second checkpoint that reads along: its answers are compared, and nobody sees them.

A share of the items that were answered is kept for a moment, and computed by the shadow when no
engine has anything else to do, one at a time. What does not find such a moment is dropped. A
shadow that fails changes nothing but a counter.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from contract.inputs import AnyInput
from contract.predictions import calibrate_logits, select_rows
from contract.prompts import Prompt
from service.admission.fair_queue import Priority
from service.errors import EngineDead, ServiceError
from service.models.loaded_models import LoadedModels
from service.models.model import Model, ServedTask
from service.observability.logs import log, report_fault
from service.observability.shadow_metrics import ShadowMetrics

MOST_WAITING = 64
"""Items kept until the engines are idle; more are dropped."""
LONGEST_WAIT_S = 60.0
"""An item that has waited longer is dropped: no text is kept for long."""
_TIMEOUT_S = 30.0
_PRIORITY = max(Priority) + 1


class Sampled(Prompt):
    """A prompt whose item the shadow shall read too."""

    item: AnyInput

    @classmethod
    def make(cls, prompt: Prompt, item: AnyInput) -> "Sampled":
        made = cls(*prompt)
        made.item = item
        return made


class Answered(NamedTuple):
    """What the first model has said of an item."""

    served: ServedTask
    item: AnyInput
    probabilities: list[float]
    """Calibrated, under the uniform prior, in label order."""
    inference_s: float
    at: float
    """Moment of `time.monotonic`."""

    @property
    def best(self) -> int:
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


class Shadow:
    """Compares one loaded model with those that answer; used from one event loop."""

    def __init__(
        self,
        loaded: LoadedModels,
        metrics: ShadowMetrics,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` returns a number from 0 to 1, which decides whether an item is read along."""
        self._loaded = loaded
        self._metrics = metrics
        self._draw = draw
        self.model: Model | None = None
        """Which one reads along."""
        self._share = 0.0
        self._backlog: deque[Answered] = deque()
        self._work: asyncio.Task[None] | None = None

    def find_share(self, model: Model) -> float:
        """Return the share of the items that a model reads along; 0 for any but the shadow."""
        return self._share if model is self.model else 0.0

    def start(self, model: Model, share: float) -> None:
        """Let a loaded model read along, in place of the one that does."""
        self.stop()
        self.model, self._share = model, share
        tasks = [served.name for served in self._loaded.list_tasks(model)]
        self._metrics.show(model.name, model.fingerprint, share, tasks)
        log("shadow", model=model.name, fingerprint=model.fingerprint, share=share)

    def stop(self) -> None:
        """Let nobody read along; what waits is dropped."""
        if self.model is not None:
            self._metrics.hide()
            log("shadow ended", model=self.model.name)
        self.model = None
        self._backlog.clear()

    def sample(
        self, served: ServedTask, items: Sequence[AnyInput], prompts: list[Prompt]
    ) -> list[Prompt]:
        """Return the prompts, those marked that the shadow shall read too."""
        if self.model is None or self._find_task(served) is None:
            return prompts
        return [
            Sampled.make(prompt, item) if self._draw() < self._share else prompt
            for prompt, item in zip(prompts, items, strict=True)
        ]

    def offer(self, answered: Answered) -> None:
        """Take an item that was answered; it is dropped where too many wait."""
        if self._find_task(answered.served) is None:
            return
        if len(self._backlog) >= MOST_WAITING:
            return self._metrics.count(answered.served.name, "dropped")
        self._backlog.append(answered)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._read_along())

    def _find_task(self, served: ServedTask) -> ServedTask | None:
        """The same task at the shadow; None where it is the one that has answered."""
        if self.model is None or self.model is served.model:
            return None
        tasks = self._loaded.list_tasks(self.model)
        return next((each for each in tasks if each.name == served.name), None)

    async def _read_along(self) -> None:
        while self._backlog:
            await self._wait_until_idle()
            if not self._backlog:  # it was stopped meanwhile
                return
            answered = self._backlog.popleft()
            task = self._find_task(answered.served)
            if task is None or time.monotonic() - answered.at > LONGEST_WAIT_S:
                self._metrics.count(answered.served.name, "dropped")
                continue
            with task.model.holders.hold():
                await self._compare(answered, task)

    async def _wait_until_idle(self) -> None:
        """Return when no engine has work: they share a machine."""
        while busy := next((m for m in self._loaded.all if not m.admission.is_idle), None):
            await busy.admission.wait_until_idle()

    async def _compare(self, answered: Answered, task: ServedTask) -> None:
        started = time.monotonic()
        try:
            encode = task.model.encoders[task.name].encode
            (prompt,) = await asyncio.to_thread(encode, [answered.item])
            async with asyncio.timeout(_TIMEOUT_S):
                scores = await task.model.score(prompt.token_ids, priority=_PRIORITY)
            probabilities = calibrate_logits(task.task, select_rows(task.task, scores))
        except EngineDead:
            # It stays the shadow, so that nobody restarts the service for it.
            self._share = 0.0
            self._metrics.hide()
            self._metrics.count(task.name, "failed")
            log("shadow failed", model=task.model.name, reason="its engine has died")
        except (ServiceError, TimeoutError, ValueError):
            self._metrics.count(task.name, "failed")
        except Exception as error:  # a fault of ours must not end the comparison
            self._metrics.count(task.name, "failed")
            report_fault(error)
        else:
            seen = answered._replace(probabilities=probabilities)
            self._note(answered, seen, time.monotonic() - started)

    def _note(self, first: Answered, second: Answered, duration_s: float) -> None:
        ids = first.served.task.label_set.ids
        self._metrics.compare(
            first.served.name,
            classes=len(ids),
            labels=(ids[first.best], ids[second.best]),
            confidences=(first.probabilities[first.best], second.probabilities[second.best]),
            durations_s=(first.inference_s, duration_s),
        )
