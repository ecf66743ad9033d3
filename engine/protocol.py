"""What everybody may expect of an engine, and what an engine is told when it starts."""

from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client.registry import Collector

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine shall run."""

    dtype: Dtype
    """Arithmetic of the engine."""
    threads: int
    """CPU threads of the engine."""
    max_batched_tokens: int
    """Prompt tokens in one step."""
    max_batched_items: int
    """Items in one step."""
    kv_cache_mib: int
    """Memory of vLLM's key/value cache on a CPU."""
    gpu_memory_fraction: float
    """Share of the GPU's memory that is for this engine."""


class Engine(Protocol):
    """Scores of one checkpoint; used from one event loop."""

    answered_at: float
    """Moment of `time.monotonic` of the latest scores; minus infinity before the first."""

    @property
    def collectors(self) -> Collector | None:
        """The engine's own metrics, to be shown beside the service's."""
        ...

    @property
    def is_alive(self) -> bool: ...

    async def score(self, token_ids: list[int], *, priority: int = 0) -> list[float]:
        """Return the raw logits of all rows of the checkpoint.

        Lower `priority` runs first. Cancelling the caller cancels the work. Raises
        EngineFailed for this item, or EngineDead for all there will ever be.
        """
        ...

    async def shutdown(self) -> None:
        """Stop; work in flight is aborted, so drain first."""
        ...
