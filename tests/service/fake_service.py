"""The whole service around a fake engine: what is injected is the part that costs seconds."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI

from contract.inputs import AnyInput
from contract.manifest import Manifest
from contract.prompts import Prompt, PromptEncoder
from engine.checkpoint import Checkpoint
from engine.choice import EngineChoice
from engine.errors import EngineDead
from service.access.api_keys import ApiKeys
from service.app import create_app
from service.classifier import Classifier
from service.http.request_context import Core
from service.models.loaded_models import LoadedModels
from service.models.loading import Loader, make_admission
from service.models.model import Model
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.readiness import Readiness
from service.settings import Settings
from tests.contract.characters import CharacterTokenizer
from tests.contract.examples import make_manifest


class FakeEngine:
    """Scores that follow from the prompt; tests say when it waits, fails or dies."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.is_alive = True
        self.answered_at = -math.inf
        self.collectors = None
        self.open = asyncio.Event()
        """Cleared: work hangs until it is set again."""
        self.open.set()
        self.fail: Callable[[list[int]], Exception | None] = lambda token_ids: None
        self.running = 0
        self.scored: list[list[int]] = []
        self.cancelled = 0
        self.was_shut_down = False
        self._deaths: set[asyncio.Future[None]] = set()

    async def score(self, token_ids: list[int], *, priority: int = 0) -> list[float]:
        if not self.is_alive:
            raise EngineDead("the engine has died")
        self.running += 1
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if error := self.fail(token_ids):
            raise error
        self.scored.append(token_ids)
        self.answered_at = time.monotonic()
        return compute_scores(token_ids, self.classes)

    def die(self) -> None:
        """As vLLM: what is in flight fails at once, and all that comes."""
        self.is_alive = False
        for death in self._deaths:
            if not death.done():
                death.set_exception(EngineDead("the engine has died"))

    async def shutdown(self) -> None:
        self.was_shut_down = True

    async def _wait(self) -> None:
        death: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deaths.add(death)
        opening = asyncio.ensure_future(self.open.wait())
        try:
            await asyncio.wait((death, opening), return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                death.result()
        finally:
            opening.cancel()
            self._deaths.discard(death)


class HeldEncoder:
    """Tokenizes as the one that it replaces, once `open` is set."""

    def __init__(self, service: "FakeService", task: str) -> None:
        encoders: dict[str, Any] = service.classifier.tasks[task].model.encoders
        self._encoder = encoders[task]
        self.open = threading.Event()
        encoders[task] = self

    def encode(self, items: Sequence[AnyInput]) -> list[Prompt]:
        assert self.open.wait(30)
        prompts: list[Prompt] = self._encoder.encode(items)
        return prompts


def compute_scores(token_ids: list[int], classes: int) -> list[float]:
    """Different for every prompt, and the same every time."""
    total = sum((place + 1) * token for place, token in enumerate(token_ids))
    return [((total * (row + 3)) % 101) / 25 for row in range(classes)]


class FakeService(NamedTuple):
    """A service ready for requests, and handles on its insides."""

    app: FastAPI
    core: Core
    classifier: Classifier
    engine: FakeEngine
    client: httpx.AsyncClient


def make_model(
    manifest: Manifest, settings: Settings, *, alias: str | None = None
) -> tuple[Model, FakeEngine]:
    checkpoint = Checkpoint(directory=Path("nowhere"), manifest=manifest, alias=alias)
    engine = FakeEngine(checkpoint.classes)
    tokenizer: Any = CharacterTokenizer()
    model = Model(
        checkpoint=checkpoint,
        engine=engine,
        choice=EngineChoice("openvino", "1.0", "asked for"),
        admission=make_admission(settings),
        encoders={
            task.label_set.task: PromptEncoder(
                tokenizer,
                version=task.prompt_version,
                max_tokens=task.max_tokens,
                window=task.window,
            )
            for task in manifest.tasks
        },
    )
    return model, engine


@asynccontextmanager
async def run_fake_service(
    *manifests: Manifest,
    keys: ApiKeys | None = None,
    loader: Loader | None = None,
    tracing: Tracing | None = None,
    **changes: Any,
) -> AsyncIterator[FakeService]:
    """Yield a service; `changes` are settings. `engine` is that of the first manifest.

    Unless it is told otherwise it refuses nobody for how long the wait would be.
    """
    settings = Settings(**{"max_wait_s": 60.0} | changes)
    metrics = Metrics()
    readiness = Readiness(
        metrics,
        canary_timeout_s=settings.canary_timeout_s,
        canary_cache_s=settings.canary_cache_s,
        canary_interval_s=settings.canary_interval_s,
        max_canary_failures=settings.max_canary_failures,
    )
    core = Core(settings=settings, metrics=metrics, readiness=readiness)
    app = create_app(core, keys or ApiKeys({}), loader, tracing)
    made = [make_model(manifest, settings) for manifest in manifests or (make_manifest(),)]
    for model, _ in made:
        metrics.add_engine(model.name, None)
    loaded = LoadedModels(model for model, _ in made)
    if settings.default_model:
        loaded.set_default(loaded.find(settings.default_model))
    classifier = Classifier(loaded, metrics)
    readiness.open(classifier)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield FakeService(app, core, classifier, made[0][1], client)
