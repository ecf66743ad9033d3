"""vLLM, and nothing else: with its kernels, the only file that imports it.

Each checkpoint has one `AsyncLLM`, whose EngineCore is a child process. Import this
module late: it takes seconds, and it must find the environment as `prepare_environment`
leaves it.
"""

import asyncio
import itertools
import math
import time

from prometheus_client import REGISTRY, CollectorRegistry
from vllm import PoolingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import tokens_input
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from engine.checkpoint import Checkpoint
from engine.errors import EngineDead, EngineFailed
from engine.protocol import EngineOptions
from engine.vllm.kernels import choose_kernels

# A request id must be new only among those in flight; vLLM adds a random tail to it.
_request_numbers = itertools.count()
_SHUTDOWN_S = 1.0
"""Then vLLM kills its process, which has nothing left to lose."""


def start_engine(checkpoint: Checkpoint, options: EngineOptions) -> "VllmEngine":
    """Start the engine's process and load the weights: it takes seconds, and blocks."""
    llm = AsyncLLM.from_engine_args(_make_arguments(checkpoint, options))
    return VllmEngine(llm, classes=checkpoint.classes, collectors=_take_collectors())


class VllmEngine:
    """Scores of one checkpoint, computed by vLLM."""

    def __init__(self, llm: AsyncLLM, *, classes: int, collectors: CollectorRegistry) -> None:
        self._llm = llm
        self._classes = classes
        self.collectors = collectors
        """vLLM's own metrics, taken out of the process-wide registry: a second engine
        would throw them out of it."""
        self.answered_at = -math.inf
        """Moment of `time.monotonic` of the latest scores."""

    @property
    def is_alive(self) -> bool:
        return not self._llm.errored

    async def score(self, token_ids: list[int], *, priority: int = 0) -> list[float]:
        """Return the raw logits of all rows of the checkpoint.

        Lower `priority` runs first. Cancelling the caller cancels the work. Raises
        EngineFailed for this item, or EngineDead for all there will ever be.
        """
        try:
            scores = await self._encode(token_ids, priority)
        except Exception as error:  # vLLM's exceptions have no common base in all its releases
            if isinstance(error, EngineDeadError) or not self.is_alive:
                raise EngineDead("the engine has died; the service restarts") from error
            raise EngineFailed("the engine could not compute this item") from error
        if len(scores) < self._classes:
            # vLLM ends an aborted request as if it had succeeded, with no scores.
            raise EngineFailed("the engine gave up this item")
        self.answered_at = time.monotonic()
        return scores

    async def shutdown(self) -> None:
        """Stop the process; work in flight is aborted, so drain first."""
        await asyncio.to_thread(self._llm.shutdown, _SHUTDOWN_S)

    async def _encode(self, token_ids: list[int], priority: int) -> list[float]:
        scores: list[float] = []
        outputs = self._llm.encode(
            tokens_input(token_ids),
            PoolingParams(task="classify", use_activation=False),
            f"ncal-{next(_request_numbers)}",
            priority=priority,
        )
        async for output in outputs:
            scores = output.outputs.data.tolist()
        return scores


def _make_arguments(checkpoint: Checkpoint, options: EngineOptions) -> AsyncEngineArgs:
    on_cpu = current_platform.is_cpu()
    return AsyncEngineArgs(
        model=str(checkpoint.directory),
        served_model_name=[checkpoint.name],
        runner="pooling",
        dtype=options.dtype,
        load_format="safetensors",
        trust_remote_code=False,
        skip_tokenizer_init=True,
        max_model_len=checkpoint.max_tokens,
        max_num_batched_tokens=max(options.max_batched_tokens, checkpoint.max_tokens),
        max_num_seqs=options.max_batched_items,
        scheduling_policy="priority",
        enforce_eager=on_cpu,  # a compiled graph gains little on a CPU and costs a slow start
        kv_cache_memory_bytes=options.kv_cache_mib * 2**20 if on_cpu else None,
        ir_op_priority=choose_kernels(),
        worker_extension_cls="engine.vllm.worker.Extension",
        gpu_memory_utilization=options.gpu_memory_fraction,
        use_tqdm_on_load=False,
        enable_log_requests=False,
    )


def _take_collectors() -> CollectorRegistry:
    own = CollectorRegistry()
    for collector in list(REGISTRY._collector_to_names):  # no public way to list them
        if getattr(collector, "_name", "").startswith("vllm:"):
            REGISTRY.unregister(collector)
            own.register(collector)
    return own
