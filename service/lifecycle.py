"""Whether the process may be sent work: starting, ready, draining, or dead.

Readiness is proven, not assumed: a real prompt goes through every engine within a
deadline. A hung engine has a process that lives and a flag that says so.
"""

import asyncio
import time
from contextlib import suppress

from service.classifier import Classifier, Model
from service.errors import Draining, EngineDead, NotReady, ServiceError
from service.logs import log
from service.metrics import Metrics

_CANARY_TOKENS = 4
_WATCH_INTERVAL_S = 0.1
_FIRST_CANARY_S = 120.0
CANARY_PRIORITY = -1
"""Before any request: under load it must measure the engine, not the queue."""


class Lifecycle:
    """State of the process; `classifier` is None until the engines are loaded."""

    def __init__(self, metrics: Metrics, *, canary_timeout_s: float, canary_cache_s: float) -> None:
        self.classifier: Classifier | None = None
        self._metrics = metrics
        self._canary_timeout_s = canary_timeout_s
        self._canary_cache_s = canary_cache_s
        self._canary: asyncio.Task[str | None] | None = None
        self._canary_at = -float("inf")
        self._draining = False

    def open(self, classifier: Classifier) -> None:
        """Take work from now on."""
        self.classifier = classifier

    def require_classifier(self) -> Classifier:
        """Return the classifier; NotReady while the engines load."""
        if self.classifier is None:
            raise NotReady("the engines are loading", retry_after_s=5.0)
        return self.classifier

    def check_live(self) -> None:
        """Raise EngineDead when only a restart of the process can help."""
        for model in self.classifier.models if self.classifier else ():
            if not model.engine.is_alive:
                raise EngineDead(f"the engine of {model.name} has died; the service restarts")

    async def check_ready(self) -> None:
        """Raise unless every engine answers its canary in time and work is welcome."""
        if self._draining:
            raise Draining("the service is shutting down")
        self.require_classifier()
        self.check_live()
        if failure := await self._share_canary():
            raise NotReady(failure)

    async def wait_until_ready(self) -> None:
        """Return once every engine has answered; raise NotReady when one takes too long.

        An engine's first step is slow, on a CPU that others use very slow.
        """
        give_up_at = time.monotonic() + _FIRST_CANARY_S
        while True:
            try:
                return await self.check_ready()
            except NotReady:
                if time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(self._canary_cache_s)

    async def _share_canary(self) -> str | None:
        """Run the canaries, or wait for those under way, or use a result still fresh."""
        canary = self._canary
        stale = canary is None or (
            canary.done() and time.monotonic() - self._canary_at > self._canary_cache_s
        )
        if canary is None or stale:
            canary = self._canary = asyncio.create_task(self._run_canaries())
        return await asyncio.shield(canary)

    async def _run_canaries(self) -> str | None:
        models = self.require_classifier().models
        failures = await asyncio.gather(*(self._run_canary(model) for model in models))
        self._canary_at = time.monotonic()
        return next((failure for failure in failures if failure), None)

    async def _run_canary(self, model: Model) -> str | None:
        started = time.perf_counter()
        failure: str | None = None
        try:
            async with asyncio.timeout(self._canary_timeout_s):
                await model.engine.score([1] * _CANARY_TOKENS, priority=CANARY_PRIORITY)
        except TimeoutError:
            failure = f"{model.name} has not answered its canary in {self._canary_timeout_s:g} s"
        except ServiceError as error:
            failure = f"{model.name} fails its canary: {error.slug}"
        self._metrics.engine_up.labels(model.name).set(failure is None)
        if failure is None:
            self._metrics.canary_duration.observe(time.perf_counter() - started)
        else:
            self._metrics.canary_failures.inc()
            log("canary failed", model=model.name, reason=failure)
        return failure

    async def watch_engines(self) -> None:
        """Return as soon as an engine's process is gone."""
        while True:
            try:
                self.check_live()
            except EngineDead as error:
                for model in self.require_classifier().models:
                    if not model.engine.is_alive:
                        self._metrics.engine_up.labels(model.name).set(0)
                log("engine died", reason=error.detail)
                return
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, and wait until what was accepted is done or the time is up."""
        self._draining = True
        log("draining", timeout_s=timeout_s)
        models = self.classifier.models if self.classifier else ()
        for model in models:
            model.admission.draining.set()  # at once, not when `gather` comes to it
        await asyncio.gather(*(model.admission.drain(timeout_s) for model in models))

    async def close(self) -> None:
        """Stop the engines."""
        if self.classifier is None:
            return
        for model in self.classifier.models:
            with suppress(Exception):  # a dead engine cannot be stopped again
                await model.engine.shutdown()
