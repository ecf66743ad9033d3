"""OpenVINO, the embedded engine: the only file that imports it.

One worker thread chooses a step (`engine.batching`), computes it and hands all its results
to the event loop in one call. OpenVINO gives the interpreter's lock back while it
computes, so the loop goes on meanwhile. Import this module late: it takes a second.
"""

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from prometheus_client import CollectorRegistry, Counter, Histogram

from contract.manifest import GRAPH_NAME, CheckpointError
from engine.batching import choose_step
from engine.checkpoint import Checkpoint
from engine.errors import EngineDead, EngineError, EngineFailed, EngineRefused
from engine.graph_check import check_graph
from engine.protocol import Dtype, EngineOptions

VERSION = str(openvino.__version__).partition("-")[0]
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_NICENESS = 2
"""Of the threads that compute: on cores that both want, HTTP goes before the next step."""
_PRIMITIVES = 256
"""Prepared shapes that OpenVINO keeps; each has memory of its own."""
_SHUTDOWN_S = 5.0


class StepMetrics:
    """What the engine of a model says of its steps."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self.duration = Histogram(
            "ncal_engine_step_duration_seconds",
            "Time of one step of the embedded engine.",
            ["model"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
            registry=self.registry,
        ).labels(model)
        self.items = Histogram(
            "ncal_engine_step_items",
            "Items of one step.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        ).labels(model)
        self.tokens = Counter(
            "ncal_engine_tokens_total", "Prompt tokens computed.", ["model"], registry=self.registry
        ).labels(model)
        self.padding = Counter(
            "ncal_engine_padding_tokens_total",
            "Tokens computed beside them, to fill steps up to their longest item.",
            ["model"],
            registry=self.registry,
        ).labels(model)


class _Work:
    """One item on its way through the engine."""

    __slots__ = ("future", "is_cancelled", "passes", "priority", "token_ids")

    def __init__(
        self, token_ids: list[int], priority: int, future: asyncio.Future[list[float]]
    ) -> None:
        self.token_ids = token_ids
        self.priority = priority
        self.future = future
        self.passes = 0
        self.is_cancelled = False

    @property
    def tokens(self) -> int:
        return len(self.token_ids)


def start_engine(checkpoint: Checkpoint, options: EngineOptions) -> "OpenVinoEngine":
    """Compile the checkpoint's graph: it takes a second, and blocks.

    Raises CheckpointError when the graph is missing, leads outside the checkpoint or cannot be
    compiled, and EngineRefused when this processor cannot compute in the precision asked for.
    """
    check_graph(checkpoint.directory)
    if checkpoint.manifest.graph_sha256 is None:
        raise CheckpointError(
            f"the manifest of {checkpoint.directory} does not vouch for {GRAPH_NAME}; write it "
            f"again with `ncal export --onnx-only {checkpoint.directory}`"
        )
    return OpenVinoEngine(checkpoint, options)


class OpenVinoEngine:
    """Scores of one checkpoint, computed by OpenVINO in this process."""

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._max_tokens = checkpoint.max_tokens
        self._step_tokens = options.max_batched_tokens
        self._step_items = options.max_batched_items
        self._metrics = StepMetrics(checkpoint.name)
        self.collectors = self._metrics.registry
        self.answered_at = -math.inf
        """Moment of `time.monotonic` of the latest scores."""
        self._arrived: list[_Work] = []
        """Since the loop's latest turn; only the event loop touches it."""
        self._pending: list[_Work] = []
        """What the worker chooses from; guarded by `_condition`, as are the next two."""
        self._is_stopping = False
        self._is_dead = False
        self._condition = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._request: Any = None
        self._fault: Exception | None = None
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(checkpoint, options, started), name="engine", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._fault is not None:
            raise self._fault

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._is_dead

    async def score(self, token_ids: list[int], *, priority: int = 0) -> list[float]:
        """Return the raw logits of all rows of the checkpoint.

        Lower `priority` runs first. Cancelling the caller cancels the work, unless its step
        already runs. Raises EngineFailed for this item, or EngineDead for all there will ever be.
        """
        if not 0 < len(token_ids) <= self._max_tokens:
            raise EngineFailed("the engine could not compute this item: it has no fitting length")
        if not self.is_alive or self._is_stopping:
            raise EngineDead("the engine has died; the service restarts")
        loop = self._loop = asyncio.get_running_loop()
        work = _Work(token_ids, priority, loop.create_future())
        if not self._arrived:
            # At the end of this turn: the items of a batch come to the worker together.
            loop.call_soon(self._hand_over)
        self._arrived.append(work)
        try:
            return await work.future
        except asyncio.CancelledError:
            work.is_cancelled = True
            raise

    async def shutdown(self) -> None:
        """Stop after the step that runs; what waits ends with EngineDead, so drain first."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join, _SHUTDOWN_S)

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        with self._condition:
            if not self._is_dead and not self._is_stopping:
                self._pending += arrived
                self._condition.notify()
                return
        _fail(arrived, EngineDead("the engine has died; the service restarts"))

    def _run(
        self, checkpoint: Checkpoint, options: EngineOptions, started: threading.Event
    ) -> None:
        """The worker: compile, then compute steps until told to stop."""
        try:
            _yield_to_service()
            self._request = _compile(checkpoint.directory, options.dtype, options.threads)
        except Exception as error:
            self._fault = error
            return
        finally:
            started.set()
        step: list[_Work] = []
        try:
            while step := self._take_step():
                self._compute(step)
        except Exception:  # of the runtime, or a fault of ours: no later step can be trusted
            logging.getLogger(__name__).exception("the embedded engine has failed")
        finally:
            self._end(step)

    def _take_step(self) -> list[_Work]:
        """Wait for work and take a step of it; nothing when it is time to stop."""
        with self._condition:
            while True:
                self._pending = [work for work in self._pending if not work.is_cancelled]
                if self._is_stopping:
                    return []
                if self._pending:
                    break
                self._condition.wait()
            chosen = choose_step(
                self._pending, max_tokens=self._step_tokens, max_items=self._step_items
            )
            step = [self._pending[index] for index in chosen]
            taken = set(chosen)
            self._pending = [work for index, work in enumerate(self._pending) if index not in taken]
            for work in self._pending:
                work.passes += 1
        return step

    def _compute(self, step: list[_Work]) -> None:
        started = time.monotonic()
        lengths = np.array([work.tokens for work in step], np.int64)
        ids = np.zeros((len(step), int(lengths.max())), np.int64)
        for row, work in zip(ids, step, strict=True):
            row[: work.tokens] = work.token_ids
        self._request.infer({"ids": ids, "lengths": lengths}, share_inputs=True)
        # A list is a copy: the next step overwrites what the request shows.
        scores: list[list[float]] = self._request.get_output_tensor(0).data.tolist()
        moment = time.monotonic()
        self._metrics.duration.observe(moment - started)
        self._metrics.items.observe(len(step))
        self._metrics.tokens.inc(int(lengths.sum()))
        self._metrics.padding.inc(ids.size - int(lengths.sum()))
        self._call_loop(self._deliver, step, scores, moment)

    def _deliver(self, step: list[_Work], scores: list[list[float]], moment: float) -> None:
        self.answered_at = moment
        for work, row in zip(step, scores, strict=True):
            if not work.future.done():
                work.future.set_result(row)

    def _end(self, step: list[_Work]) -> None:
        """Nothing is computed any more: tell everybody who waits, those of the last step too."""
        with self._condition:
            self._is_dead = True
            left, self._pending = [*step, *self._pending], []
        self._call_loop(_fail, left, EngineDead("the engine has died; the service restarts"))

    def _call_loop(self, function: Any, *arguments: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def score_offline(
    directory: Path, prompts: Sequence[Sequence[int]], *, dtype: Dtype, threads: int
) -> list[list[float]]:
    """Return the raw logits (rows,) of each prompt, one after the other and without a queue.

    For the proof of a checkpoint that has no manifest yet. Raises as `start_engine` does.
    """
    check_graph(directory)
    request = _compile(directory, dtype, threads)
    scores: list[list[float]] = []
    for prompt in prompts:
        ids = np.array([prompt], np.int64)
        request.infer({"ids": ids, "lengths": np.array([len(prompt)], np.int64)})
        scores += request.get_output_tensor(0).data.tolist()
    return scores


def _compile(directory: Path, dtype: Dtype, threads: int) -> Any:
    core = openvino.Core()
    precision = _choose_precision(core, dtype)
    path = directory / GRAPH_NAME
    try:
        compiled = core.compile_model(
            core.read_model(path),
            "CPU",
            {
                # Its default is bfloat16 where the processor has it.
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
                "CPU_RUNTIME_CACHE_CAPACITY": _PRIMITIVES,
            },
        )
        return compiled.create_infer_request()
    except RuntimeError as error:  # OpenVINO has no other
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} cannot be compiled ({reason}); write it again with "
            f"`ncal export --onnx-only {directory}`"
        ) from error


def _choose_precision(core: Any, dtype: Dtype) -> str:
    if dtype not in _PRECISIONS:
        raise EngineRefused(
            "the embedded engine does not compute in float16; choose --dtype float32 or bfloat16"
        )
    if dtype == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineRefused("this processor does not compute in bfloat16; choose --dtype float32")
    return _PRECISIONS[dtype]


def _yield_to_service() -> None:
    """Lower this thread's priority, and that of all it starts, where the system can do that."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _fail(works: list[_Work], error: EngineError) -> None:
    for work in works:
        if not work.future.done():
            work.future.set_exception(error)
