"""OpenVINO, the embedded engine: the only file that imports it.

A few threads each choose a step (`engine.work_queue`), compute it and hand all its results
to the event loop in one call. OpenVINO gives the interpreter's lock back while it
computes, so the loop goes on meanwhile. Import this module late: it takes a second.
"""

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from contract.manifest import GRAPH_NAME, CheckpointError
from engine.checkpoint import Checkpoint
from engine.errors import EngineDead, EngineError, EngineFailed, EngineRefused
from engine.graph_check import check_graph
from engine.protocol import Dtype, EngineOptions
from engine.step_metrics import StepMetrics
from engine.work_queue import Work, WorkQueue

VERSION = str(openvino.__version__).partition("-")[0]
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_STREAMS = 2
"""Steps computed at the same time, the threads divided among them. Threads that share a step
wait for each other at every operation: two steps on a core each take a sixth less time than one
after the other on both, and an item alone is no slower."""
_NICENESS = 2
"""Of the threads that compute: on cores that both want, HTTP goes before the next step."""
_PRIMITIVES = 256
"""Prepared shapes that OpenVINO keeps; each has memory of its own."""
_SHUTDOWN_S = 5.0


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
        self._metrics = StepMetrics(checkpoint.name)
        self.collectors = self._metrics.registry
        self.answered_at = -math.inf
        """Moment of `time.monotonic` of the latest scores."""
        self._arrived: list[Work] = []
        """Since the loop's latest turn; only the event loop touches it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_dead = False
        streams = min(_STREAMS, options.threads)
        self._queue = WorkQueue(
            max_tokens=options.max_batched_tokens // streams, max_items=options.max_batched_items
        )
        # The threads that OpenVINO starts have the niceness of the one that compiles.
        with ThreadPoolExecutor(1, initializer=_yield_to_service) as compiling:
            compiled = compiling.submit(
                _compile, checkpoint.directory, options.dtype, options.threads, streams
            ).result()
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        for request in self._requests:
            # OpenVINO's binding fills tables at its first call and deadlocks with the
            # interpreter's lock when two threads come first, as those of two checkpoints do.
            _infer(request, np.ones((1, 1), np.int64), np.ones(1, np.int64))
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"engine-{index}", daemon=True)
            for index in range(streams)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        return not self._is_dead and all(thread.is_alive() for thread in self._threads)

    async def score(self, token_ids: list[int], *, priority: int = 0) -> list[float]:
        """Return the raw logits of all rows of the checkpoint.

        Lower `priority` runs first. Cancelling the caller cancels the work, unless its step
        already runs. Raises EngineFailed for this item, or EngineDead for all there will ever be.
        """
        if not 0 < len(token_ids) <= self._max_tokens:
            raise EngineFailed("the engine could not compute this item: it has no fitting length")
        if not self.is_alive:
            raise _death()
        loop = self._loop = asyncio.get_running_loop()
        work = Work(token_ids, priority, loop.create_future())
        if not self._arrived:
            # At the end of this turn: the items of a batch come to the threads together.
            loop.call_soon(self._hand_over)
        self._arrived.append(work)
        try:
            return await work.future
        except asyncio.CancelledError:
            work.is_cancelled = True
            raise

    async def shutdown(self) -> None:
        """Stop after the steps that run; what waits ends with EngineDead, so drain first."""
        _fail(self._queue.close(), _death())
        for thread in self._threads:
            await asyncio.to_thread(thread.join, _SHUTDOWN_S)

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not self._queue.put(arrived):
            _fail(arrived, _death())

    def _run(self, index: int) -> None:
        """A thread: compute steps until told to stop."""
        _yield_to_service()
        step: list[Work] = []
        try:
            while step := self._queue.take_step():
                self._compute(self._requests[index], step)
        except Exception:  # of the runtime, or a fault of ours: no later step can be trusted
            logging.getLogger(__name__).exception("the embedded engine has failed")
            self._is_dead = True
            self._call_loop(_fail, [*step, *self._queue.close()], _death())

    def _compute(self, request: Any, step: list[Work]) -> None:
        started = time.monotonic()
        lengths = np.array([work.tokens for work in step], np.int64)
        ids = np.zeros((len(step), int(lengths.max())), np.int64)
        for row, work in zip(ids, step, strict=True):
            row[: work.tokens] = work.token_ids
        scores = _infer(request, ids, lengths)
        moment = time.monotonic()
        tokens = int(lengths.sum())
        self._metrics.count_step(
            seconds=moment - started, items=len(step), tokens=tokens, padding=ids.size - tokens
        )
        self._call_loop(self._deliver, step, scores, moment)

    def _deliver(self, step: list[Work], scores: list[list[float]], moment: float) -> None:
        self.answered_at = moment
        for work, row in zip(step, scores, strict=True):
            if not work.future.done():
                work.future.set_result(row)

    def _call_loop(self, function: Any, *arguments: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _infer(request: Any, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[list[float]]:
    """Raw logits (items, rows) of ids (items, longest) and their lengths (items,)."""
    request.infer({"ids": ids, "lengths": lengths}, share_inputs=True)
    # A list is a copy: the next step overwrites what the request shows.
    scores: list[list[float]] = request.get_output_tensor(0).data.tolist()
    return scores


def score_offline(
    directory: Path, prompts: Sequence[Sequence[int]], *, dtype: Dtype, threads: int
) -> list[list[float]]:
    """Return the raw logits (rows,) of each prompt, one after the other and without a queue.

    For the proof of a checkpoint that has no manifest yet. Raises as `start_engine` does.
    """
    check_graph(directory)
    request = _compile(directory, dtype, threads, streams=1).create_infer_request()
    scores: list[list[float]] = []
    for prompt in prompts:
        ids = np.array([prompt], np.int64)
        request.infer({"ids": ids, "lengths": np.array([len(prompt)], np.int64)})
        scores += request.get_output_tensor(0).data.tolist()
    return scores


def _compile(directory: Path, dtype: Dtype, threads: int, streams: int) -> Any:
    core = openvino.Core()
    precision = _choose_precision(core, dtype)
    path = directory / GRAPH_NAME
    try:
        return core.compile_model(
            core.read_model(path),
            "CPU",
            {
                # Its default is bfloat16 where the processor has it.
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
                "CPU_RUNTIME_CACHE_CAPACITY": _PRIMITIVES,
            },
        )
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
    if sys.platform == "linux":
        niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def _death() -> EngineDead:
    return EngineDead("the engine has died; the service restarts")


def _fail(works: list[Work], error: EngineError) -> None:
    for work in works:
        if not work.future.done():
            work.future.set_exception(error)
