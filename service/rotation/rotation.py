"""Checkpoints loaded, made the default and dropped while the service runs; nobody notices.

A change is a step of the event loop: before it requests find the old model, after it the new
one. A model that is dropped is found by nobody any more, answers what had found it, and only
then is its engine stopped. One change at a time.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract.manifest import CheckpointError
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.errors import EngineRefused
from engine.memory import find_free_bytes
from service.classifier import Classifier
from service.errors import Conflict, EngineFailed, ServiceError
from service.models.loading import Loader
from service.models.model import Model
from service.observability.logs import log, report_fault
from service.observability.metrics import Metrics
from service.readiness import Readiness
from service.rotation.checks import check_beside, check_memory, find_directory, refuse
from service.settings import Settings


class Rotation:
    """Changes what is served; used from one event loop."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        readiness: Readiness,
        loader: Loader,
        *,
        find_free: Callable[[], int | None] = find_free_bytes,
    ) -> None:
        """`find_free` returns the bytes of memory that can be had, None if that is unknown."""
        self._settings = settings
        self._metrics = metrics
        self._readiness = readiness
        self._loader = loader
        self._find_free = find_free
        self._change: asyncio.Task[None] | None = None

    async def load(
        self, place: str, *, alias: str | None, fingerprint: str | None, deadline: float
    ) -> bool:
        """Load the checkpoint that lies at `place` below the folder for that.

        Raises InvalidInput when it must not be served, or has another fingerprint than it should,
        Conflict when there is no room for it, NotReady when its engine does not answer. False:
        it goes on beyond the deadline.
        """
        directory = find_directory(self._settings.checkpoint_folder, place)
        return await self._run(self._load(directory, alias, fingerprint), deadline)

    async def drop(self, name: str, *, deadline: float) -> bool:
        """Stop serving a model once all that it had accepted is answered.

        Raises NotFound, or Conflict when it is the default of a task. False as in `load`.
        """
        model = self._classifier.loaded.find(name)
        self._check_droppable(model)
        return await self._run(self._drop(model), deadline)

    def set_default(self, name: str) -> None:
        """Let a model answer its tasks from now on; raises NotFound."""
        classifier = self._classifier
        model = classifier.loaded.find(name)
        _check_alive(model)
        if classifier.shadow.model is model:
            classifier.shadow.stop()  # it would be compared with itself
        classifier.loaded.set_default(model)
        classifier.show_models()
        log("default changed", model=model.name, fingerprint=model.fingerprint)

    def set_shadow(self, name: str | None, share: float) -> None:
        """Let a model read along with that share of the items, or none; raises NotFound, or
        Conflict for a model that answers by default."""
        shadow = self._classifier.shadow
        if shadow.model is not None:
            _check_alive(shadow.model)
        if name is None:
            return shadow.stop()
        model = self._classifier.loaded.find(name)
        if defaults := self._classifier.loaded.list_defaults(model):
            raise Conflict(f"{model.name} answers {', '.join(defaults)} by default")
        shadow.start(model, share)

    @property
    def _classifier(self) -> Classifier:
        return self._readiness.require_classifier()

    def _check_quiet(self) -> None:
        if self._change is not None and not self._change.done():
            raise Conflict("another change is under way; ask again when it is done")

    async def _run(self, change: Coroutine[Any, Any, None], deadline: float) -> bool:
        """Run a change to its end, whether or not somebody still waits for it."""
        try:
            self._check_quiet()
        except Conflict:
            change.close()
            raise
        task = self._change = asyncio.create_task(_report(change))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait((task,), timeout=max(0.0, deadline - time.monotonic()))
        if not task.done():
            return False
        task.result()
        return True

    async def _load(self, directory: Path, alias: str | None, fingerprint: str | None) -> None:
        started = time.monotonic()
        if len(self._classifier.models) >= self._settings.max_models:
            raise Conflict(
                f"{self._settings.max_models} checkpoints are loaded, the most there may be "
                "(NCAL_MAX_MODELS); drop one first"
            )
        try:
            checkpoint = await asyncio.to_thread(load_checkpoint, directory, alias=alias)
            self._check(checkpoint, fingerprint)
            model = await asyncio.to_thread(self._loader.load, checkpoint)
        except (CheckpointError, EngineRefused) as error:
            raise refuse(str(error)) from error
        try:
            await self._readiness.prove(model)
        except BaseException:
            await self._stop(model)
            raise
        classifier = self._classifier
        self._metrics.add_model(model.name, checkpoint.manifest.tasks)
        self._readiness.watch(model)
        classifier.loaded.add(model)
        classifier.show_models()
        log(
            "model loaded",
            model=model.name,
            fingerprint=model.fingerprint,
            duration_s=round(time.monotonic() - started, 3),
        )

    def _check(self, checkpoint: Checkpoint, fingerprint: str | None) -> None:
        others = [model.checkpoint for model in self._classifier.models]
        check_beside(checkpoint, others, fingerprint)
        if self._loader.choice.name == "openvino":  # on a GPU the engine itself refuses
            check_memory(checkpoint, self._settings.dtype, self._find_free())

    def _check_droppable(self, model: Model) -> None:
        if defaults := self._classifier.loaded.list_defaults(model):
            raise Conflict(
                f"{model.name} answers {', '.join(defaults)} by default; make another checkpoint "
                "the default first"
            )

    async def _drop(self, model: Model) -> None:
        started = time.monotonic()
        loaded = self._classifier.loaded
        self._check_droppable(model)
        if self._classifier.shadow.model is model:
            self._classifier.shadow.stop()
        loaded.remove(model)
        model.admission.retire()
        # Requests have deadlines, so this has an end.
        await model.holders.wait_until_free()
        await model.admission.drain(self._settings.max_request_timeout_s)
        await self._stop(model)
        loaded.leaving.discard(model)
        log(
            "model dropped",
            model=model.name,
            fingerprint=model.fingerprint,
            duration_s=round(time.monotonic() - started, 3),
        )

    async def _stop(self, model: Model) -> None:
        with suppress(Exception):  # a dead engine cannot be stopped again
            await model.engine.shutdown()
        self._readiness.forget(model)
        self._metrics.remove_model(model.name)


async def _report(change: Coroutine[Any, Any, None]) -> None:
    """Run a change and log how it failed: whoever asked for it may have gone."""
    try:
        await change
    except ServiceError as error:
        reasons = "; ".join(each.reason for each in error.reasons)
        log("model change failed", reason=reasons or error.detail)
        raise
    except Exception as error:
        report_fault(error)
        raise EngineFailed("the engine did not start; the log says where") from None


def _check_alive(model: Model) -> None:
    if not model.engine.is_alive:
        raise Conflict(f"the engine of {model.name} has died; drop the checkpoint")
