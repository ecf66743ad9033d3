"""From a checkpoint to a model that can answer: its tokenizer, its engine, its queue."""

from typing import Protocol

from engine.checkpoint import Checkpoint, load_prompt_encoders
from engine.choice import EngineChoice, start_engine
from engine.protocol import EngineOptions
from service.admission.admission import Admission
from service.models.model import Model
from service.observability.metrics import Metrics
from service.settings import Settings


class Loader(Protocol):
    """Makes models."""

    choice: EngineChoice

    def load(self, checkpoint: Checkpoint) -> Model:
        """Start its engine, which takes seconds and blocks.

        Raises CheckpointError or EngineRefused when it cannot run, with the remedy; a runtime
        may raise others.
        """
        ...


class EngineLoader:
    """Makes models over the engine that was chosen."""

    def __init__(self, settings: Settings, choice: EngineChoice, metrics: Metrics) -> None:
        self.choice = choice
        self._settings = settings
        self._metrics = metrics
        engines = len(settings.checkpoint)
        # A GPU is divided once: among those that there may be.
        self._engines = max(engines, settings.max_models) if settings.admin_paths else engines

    def load(self, checkpoint: Checkpoint) -> Model:
        """Start its engine, as the protocol says."""
        encoders = load_prompt_encoders(checkpoint)
        options = make_engine_options(self._settings, engines=self._engines)
        engine = start_engine(self.choice, checkpoint, options)
        self._metrics.add_engine(checkpoint.name, engine.collectors)
        return Model(
            checkpoint=checkpoint,
            engine=engine,
            choice=self.choice,
            encoders=encoders,
            admission=make_admission(self._settings),
        )


def make_engine_options(settings: Settings, *, engines: int) -> EngineOptions:
    """Return how each of so many engines shall run; they share a GPU's memory."""
    return EngineOptions(
        dtype=settings.dtype,
        threads=settings.engine_threads,
        max_batched_tokens=settings.max_batched_tokens,
        max_batched_items=settings.max_batched_items,
        kv_cache_mib=settings.kv_cache_mib,
        gpu_memory_fraction=settings.gpu_memory_fraction / engines,
    )


def make_admission(settings: Settings) -> Admission:
    """Return the queue of one engine: two steps of work at a time, so that it never idles."""
    return Admission(
        max_waiting_items=settings.max_waiting_items,
        max_waiting_tokens=settings.max_waiting_tokens,
        max_running_items=2 * settings.max_batched_items,
        max_running_tokens=2 * settings.max_batched_tokens,
        max_wait_s=settings.max_wait_s,
    )
