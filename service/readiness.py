"""Whether the process may be sent work: starting, ready, draining, or dead.

Readiness is proven, not assumed: an engine has just answered real work, or a canary, a
prompt of ours, goes through it within a deadline. A hung engine has a process that lives and
a flag that says so.
"""

import asyncio
import math
import time
from collections import Counter
from contextlib import suppress
from functools import partial

from service.classifier import Classifier
from service.errors import Draining, EngineDead, NotReady, ServiceError
from service.exit_codes import ExitCode
from service.models.model import Model
from service.observability.logs import log
from service.observability.metrics import Metrics

_CANARY_TOKENS = 4
_WATCH_INTERVAL_S = 0.1
_FIRST_CANARY_S = 120.0
CANARY_PRIORITY = -1
"""Before any request: under load it must measure the engine, not the queue."""


class Readiness:
    """State of the process; `classifier` is None until the engines are loaded."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        canary_timeout_s: float,
        canary_cache_s: float,
        canary_interval_s: float,
        max_canary_failures: int = 0,
    ) -> None:
        """`max_canary_failures` in a row are the end; 0 of them never are."""
        self.classifier: Classifier | None = None
        self._metrics = metrics
        self._canary_timeout_s = canary_timeout_s
        self._canary_cache_s = canary_cache_s
        self._canary_interval_s = canary_interval_s
        self._canary: asyncio.Task[str | None] | None = None
        self._canary_at = -math.inf
        self._failed_at: dict[str, float] = {}
        """By model: when its canary failed last."""
        self._max_failures = max_canary_failures
        self._failures: Counter[str] = Counter()
        """By model: canaries that failed since it answered last."""
        self._draining = False

    def open(self, classifier: Classifier) -> None:
        """Take work from now on."""
        self.classifier = classifier
        for model in classifier.models:
            self.watch(model)

    def require_classifier(self) -> Classifier:
        """Return the classifier; NotReady while the engines load."""
        if self.classifier is None:
            raise NotReady("the engines are loading", retry_after_s=5.0)
        return self.classifier

    def check_live(self) -> None:
        """Raise EngineDead when only a restart of the process can help."""
        for model in self.classifier.needed_models if self.classifier else ():
            if not model.engine.is_alive:
                raise EngineDead(f"the engine of {model.name} has died; the service restarts")

    async def check_ready(self) -> None:
        """Raise unless every engine answers its canary in time and work is welcome."""
        self.check_live()
        if self._draining:
            raise Draining("the service is shutting down")
        self.require_classifier()
        if failure := await self._find_failure():
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

    async def _find_failure(self) -> str | None:
        """What is wrong: by fresh answers, or the canaries under way, or new ones."""
        models = self.require_classifier().needed_models
        if all(self._is_well(model, self._canary_cache_s) for model in models):
            return None
        canary = self._canary
        if canary is None or self._is_canary_older(self._canary_cache_s):
            canary = self._start_canaries(self._canary_cache_s)
        return await asyncio.shield(canary)

    def _is_well(self, model: Model, silence_s: float = math.inf) -> bool:
        """Whether the latest that was heard of an engine, not longer ago, is an answer."""
        answered_at = model.engine.answered_at
        return (
            model.engine.is_alive
            and answered_at > self._failed_at.get(model.name, -math.inf)
            and time.monotonic() - answered_at <= silence_s
        )

    def _is_canary_older(self, age_s: float) -> bool:
        """Whether none is under way, and the last one ended so long ago."""
        is_under_way = self._canary is not None and not self._canary.done()
        return not is_under_way and time.monotonic() - self._canary_at > age_s

    def _start_canaries(self, silence_s: float) -> asyncio.Task[str | None]:
        self._canary = asyncio.create_task(self._run_canaries(silence_s))
        return self._canary

    async def _run_canaries(self, silence_s: float) -> str | None:
        """Test the engines that were silent for so long; return what is wrong with one."""
        models = self.require_classifier().needed_models
        silent = [model for model in models if not self._is_well(model, silence_s)]
        failures = await asyncio.gather(*(self._run_canary(model) for model in silent))
        self._canary_at = time.monotonic()
        return next((failure for failure in failures if failure), None)

    async def prove(self, model: Model) -> None:
        """Return when a model that is not served yet answers; NotReady when it does not."""
        give_up_at = time.monotonic() + _FIRST_CANARY_S
        while failure := await self._ask(model):
            if not model.engine.is_alive or time.monotonic() > give_up_at:
                raise NotReady(failure)

    def watch(self, model: Model) -> None:
        """Show in the metrics how the engine of a model is."""
        self._metrics.watch_engine(model.name, partial(self._is_well, model))

    def forget(self, model: Model) -> None:
        """A model is gone: what is known of its canaries is of no use."""
        self._failed_at.pop(model.name, None)
        self._failures.pop(model.name, None)

    async def _ask(self, model: Model) -> str | None:
        """Send a canary; return what is wrong with the engine."""
        try:
            async with asyncio.timeout(self._canary_timeout_s):
                scores = await model.score([1] * _CANARY_TOKENS, priority=CANARY_PRIORITY)
        except TimeoutError:
            return f"{model.name} has not answered its canary in {self._canary_timeout_s:g} s"
        except ServiceError as error:
            return f"{model.name} fails its canary: {error.slug}"
        if not all(map(math.isfinite, scores)):
            return f"{model.name} answers its canary with scores that are no finite numbers"
        return None

    async def _run_canary(self, model: Model) -> str | None:
        started = time.perf_counter()
        failure = await self._ask(model)
        if failure is None:
            self._failures[model.name] = 0
            self._metrics.canary_duration.observe(time.perf_counter() - started)
        else:
            is_first = model.engine.answered_at > self._failed_at.get(model.name, -math.inf)
            self._failures[model.name] = 1 if is_first else self._failures[model.name] + 1
            self._failed_at[model.name] = time.monotonic()
            self._metrics.canary_failures.inc()
            log("canary failed", model=model.name, reason=failure)
        return failure

    async def watch_engines(self) -> ExitCode:
        """Send canaries to engines that are silent; return how to end when one is gone or hangs."""
        while True:
            try:
                self.check_live()
            except EngineDead as error:
                log("engine died", reason=error.detail)
                return ExitCode.ENGINE_DEAD
            if self._max_failures and max(self._failures.values(), default=0) >= self._max_failures:
                log("engine hangs", failed_canaries=self._max_failures)
                return ExitCode.ENGINE_HANGS
            self._test_silent_engines()
            await asyncio.sleep(_WATCH_INTERVAL_S)

    def _test_silent_engines(self) -> None:
        """So a hung engine is known of without a probe; under load this costs nothing."""
        models = self.require_classifier().needed_models
        interval_s = self._canary_interval_s
        if self._draining or all(self._is_well(model, interval_s) for model in models):
            return
        if self._is_canary_older(interval_s):
            self._start_canaries(interval_s)

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, and wait until what was accepted is done or the time is up.

        What waits for a dead engine is told so, and at once.
        """
        self._draining = True
        log("draining", timeout_s=timeout_s)
        loaded = self.classifier.loaded if self.classifier else None
        models = (*loaded.all, *loaded.leaving) if loaded else ()
        for model in models:
            model.admission.close()  # at once, not when `gather` comes to it
            if not model.engine.is_alive:
                model.admission.abandon()
        await asyncio.gather(*(model.admission.drain(timeout_s) for model in models))

    async def close(self) -> None:
        """Stop the engines."""
        if self.classifier is None:
            return
        for model in self.classifier.models:
            with suppress(Exception):  # a dead engine cannot be stopped again
                await model.engine.shutdown()
