"""From inputs to class probabilities: prompt → admission → engine → calibration.

The one way an item takes, whether it came alone, in a batch, in a stream or live.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from contract.inputs import AnyInput, DialogueTurn
from contract.manifest import Task
from contract.predictions import read_head
from contract.priors import needs_review
from contract.prompts import Prompt, PromptEncoder
from engine.batching import order_by_length
from service.admission.fair_queue import Priority
from service.errors import DeadlineExceeded, EngineFailed, ServiceError
from service.models.loaded_models import LoadedModels
from service.models.model import Model, ServedTask
from service.models.shadow import Answered, Sampled, Shadow
from service.observability.logs import report_fault
from service.observability.metrics import Metrics, Mode, QueueDepth
from service.observability.tracing import Stages

PRIORITIES: dict[Mode, Priority] = {
    "live": Priority.LIVE,
    "single": Priority.SINGLE,
    "batch": Priority.BATCH,
    "stream": Priority.STREAM,
}
_INLINE_ITEMS = 4
_INLINE_CHARACTERS = 2000
"""More than so many are tokenized in a thread, so that the event loop stays free."""
_TOKENIZED_AT_ONCE = 256
_CHARACTERS_AT_ONCE = 64_000
"""Then others' items get their turn in that thread. Each character takes about 100 bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """How one request wants its items to be treated."""

    mode: Mode
    client: str
    deadline: float
    """Moment of `time.monotonic` after which nothing is computed any more."""
    stages: Stages | None = None
    """Where the times of its items are noted, if spans are exported."""
    wait_for_room: bool = False
    """Wait outside the bounded queue instead of being refused: for streams."""


class Classification(NamedTuple):
    """What the model says of one item, and what it took."""

    logits: list[float]
    """Raw, in label order."""
    probabilities: list[float]
    """Calibrated, under the uniform prior, in label order."""
    prediction_set: list[int]
    """Indices of the labels in the conformal set, most probable first."""
    was_cut: bool
    tokens: int
    queued_s: float
    inference_s: float

    @property
    def best(self) -> int:
        """Index of the most probable label, uniform prior."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


class Classifier:
    """All models of the service, by the tasks they serve; used from one event loop."""

    def __init__(self, loaded: LoadedModels, metrics: Metrics) -> None:
        self.loaded = loaded
        """Which model a request means."""
        self._metrics = metrics
        self.shadow = Shadow(loaded, metrics.shadow)
        # One thread: more would take cores from the engine.
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        metrics.watch_queues(self.read_queues)
        for model in loaded.all:
            metrics.add_model(model.name, model.checkpoint.manifest.tasks)
        self.show_models()

    @property
    def models(self) -> tuple[Model, ...]:
        return self.loaded.all

    @property
    def needed_models(self) -> tuple[Model, ...]:
        """Those without which the service cannot do its work: all but a shadow."""
        shadow = self.shadow.model
        if shadow is None or self.loaded.list_defaults(shadow):
            return self.loaded.all
        return tuple(model for model in self.loaded.all if model is not shadow)

    @property
    def tasks(self) -> Mapping[str, ServedTask]:
        """By name: what answers where a request names no model."""
        return self.loaded.defaults

    def show_models(self) -> None:
        """Tell the metrics which model answers which task by default; after every change."""
        for model in self.models:
            defaults = self.loaded.list_defaults(model)
            for served in self.loaded.list_tasks(model):
                self._metrics.show_model(
                    model.name, model.fingerprint, served.name, served.name in defaults
                )

    def read_queues(self) -> QueueDepth:
        admissions = [model.admission for model in self.models]
        return QueueDepth(
            items=sum(each.waiting_items for each in admissions),
            tokens=sum(each.waiting_tokens for each in admissions),
            oldest_s=max((each.oldest_wait_s for each in admissions), default=0.0),
            running_items=sum(each.running_items for each in admissions),
            utilization=max((each.utilization for each in admissions), default=0.0),
        )

    def check_room(self, served: ServedTask, call: Call) -> None:
        """Refuse a single item before its body is read: under overload that is what costs."""
        served.model.admission.check_room(
            items=1, tokens=1, priority=PRIORITIES[call.mode], client=call.client
        )

    async def encode(
        self, served: ServedTask, items: Sequence[AnyInput], deadline: float
    ) -> list[Prompt]:
        """Return the prompts of the items, in order.

        Raises DeadlineExceeded when `deadline`, by `time.monotonic`, comes first: much text takes
        seconds, and others' may be before it.
        """
        started = time.perf_counter()
        encoder = served.model.encoders[served.name]
        prompts: list[Prompt] = []
        if len(items) <= _INLINE_ITEMS and sum(map(_count_characters, items)) <= _INLINE_CHARACTERS:
            prompts = encoder.encode(items)
        else:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    prompts = await self._encode_beside(encoder, items)
            except TimeoutError:
                raise DeadlineExceeded("the deadline passed before all was tokenized") from None
        stage = self._metrics.stage_duration.labels("tokenize")
        for _ in items:
            stage.observe((time.perf_counter() - started) / len(items))
        return self.shadow.sample(served, items, prompts)

    async def _encode_beside(
        self, encoder: PromptEncoder, items: Sequence[AnyInput]
    ) -> list[Prompt]:
        loop = asyncio.get_running_loop()
        prompts: list[Prompt] = []
        for part in _divide(items):
            prompts += await loop.run_in_executor(self._tokenizing, encoder.encode, part)
        return prompts

    async def classify(self, served: ServedTask, prompt: Prompt, call: Call) -> Classification:
        """Classify one prompt.

        Raises any ServiceError of admission and engine. Cancelling the caller takes the
        item out of the queue or stops it in the engine.
        """
        outcome = "internal"
        try:
            result = await self._run(served, prompt, call)
            outcome = "ok"
        except ServiceError as error:
            outcome = error.slug
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            self._metrics.cancelled_items.inc()
            raise
        finally:
            self._metrics.count_item(served.model.name, served.name, call.mode, outcome)
        self._observe(served, result)
        if isinstance(prompt, Sampled):
            answered = Answered(
                served, prompt.item, result.probabilities, result.inference_s, time.monotonic()
            )
            self.shadow.offer(answered)
        return result

    async def classify_batch(
        self, served: ServedTask, prompts: Sequence[Prompt], call: Call
    ) -> list[Classification | ServiceError]:
        """Classify all prompts at once, in order; an item that fails is its error.

        Raises BodyTooLarge, Overloaded or Draining, before any work, when they cannot all be
        taken.
        """
        tokens = sum(len(prompt.token_ids) for prompt in prompts)
        served.model.admission.check_size(items=len(prompts), tokens=tokens)
        served.model.admission.check_room(
            items=len(prompts),
            tokens=tokens,
            priority=PRIORITIES[call.mode],
            client=call.client,
        )

        async def classify(prompt: Prompt) -> Classification | ServiceError:
            try:
                return await self.classify(served, prompt, call)
            except ServiceError as error:
                return error
            except Exception as error:  # a fault of ours must not fail its neighbours either
                return report_fault(error)

        async with asyncio.TaskGroup() as group:
            tasks = {
                index: group.create_task(classify(prompts[index]))
                for index in order_by_length(prompts)
            }
        return [tasks[index].result() for index in range(len(prompts))]

    async def _run(self, served: ServedTask, prompt: Prompt, call: Call) -> Classification:
        priority = PRIORITIES[call.mode]
        permit = await served.model.admission.acquire(
            tokens=len(prompt.token_ids),
            priority=priority,
            client=call.client,
            deadline=call.deadline,
            wait_for_room=call.wait_for_room,
        )
        async with permit:
            started = time.monotonic()
            try:
                async with asyncio.timeout(call.deadline - started):
                    scores = await served.model.score(prompt.token_ids, priority=priority)
            except TimeoutError:
                raise DeadlineExceeded("the deadline passed while the item was computed") from None
            inference_s = time.monotonic() - started
        if call.stages is not None:
            call.stages.add("queue", permit.queued_s, ago_s=inference_s)
            call.stages.add("inference", inference_s)
        return _read_scores(served.task, scores, prompt, permit.queued_s, inference_s)

    def _observe(self, served: ServedTask, result: Classification) -> None:
        metrics = self._metrics
        place = (served.model.name, served.name)
        metrics.stage_duration.labels("queue").observe(result.queued_s)
        metrics.stage_duration.labels("inference").observe(result.inference_s)
        metrics.prompt_tokens.labels(*place).inc(result.tokens)
        metrics.predictions.labels(*place, served.task.label_set.ids[result.best]).inc()
        metrics.confidence.labels(*place).observe(result.probabilities[result.best])
        if needs_review(result.prediction_set, result.best):
            metrics.needs_review.labels(*place).inc()
        if result.was_cut:
            metrics.inputs_cut.labels(*place).inc()


def _count_characters(item: AnyInput) -> int:
    count = len(item.text)
    if isinstance(item, DialogueTurn):
        count += sum(len(turn.text) for turn in (*item.previous, *item.following))
    return count


def _divide(items: Sequence[AnyInput]) -> Iterator[list[AnyInput]]:
    """Yield the items in parts that are tokenized in a moment and in little memory."""
    part: list[AnyInput] = []
    characters = 0
    for item in items:
        part.append(item)
        characters += _count_characters(item)
        if len(part) == _TOKENIZED_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _read_scores(
    task: Task, scores: list[float], prompt: Prompt, queued_s: float, inference_s: float
) -> Classification:
    try:
        answer = read_head(task, scores)
    except ValueError:
        raise EngineFailed("the engine's scores are not finite numbers") from None
    return Classification(
        logits=answer.logits,
        probabilities=answer.probabilities,
        prediction_set=answer.prediction_set,
        was_cut=prompt.was_cut,
        tokens=len(prompt.token_ids),
        queued_s=queued_s,
        inference_s=inference_s,
    )
