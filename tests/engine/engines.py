"""Both engines as the suite of their contract gets them: started once, and small steps."""

import math
import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import pytest

import service.command
from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoints
from engine.choice import EngineChoice, EngineName, prepare_engine, start_engine
from engine.protocol import Engine, EngineOptions
from tests.unmeasured import make_unmeasured_environment

(CHECKPOINT,) = load_checkpoints([BUNDLED_CHECKPOINT])
ENGINES: tuple[EngineName, ...] = ("openvino", "vllm")
_ITEMS = {"openvino": "ncal_engine_step_items_sum", "vllm": "vllm:request_success_total"}
_TOKENS = {"openvino": "ncal_engine_tokens_total", "vllm": "vllm:prompt_tokens_total"}


class RunningEngine:
    """An engine and what a test may know of it from outside."""

    def __init__(self, name: EngineName, engine: Engine, kill: Callable[[], None]) -> None:
        self.name = name
        self.engine = engine
        self.kill = kill
        """What makes it die as its runtime dies."""

    def count(self, what: Literal["items", "tokens"]) -> float:
        """Read how much it has computed since it was started, by its own metrics."""
        sample = (_ITEMS if what == "items" else _TOKENS)[self.name]
        collectors = self.engine.collectors
        assert collectors is not None
        return math.fsum(
            each.value
            for metric in collectors.collect()
            for each in metric.samples
            if each.name == sample
        )


def make_options(**changes: Any) -> EngineOptions:
    """One thread, and steps that hold one item of `LONG` tokens."""
    options: dict[str, Any] = {
        "dtype": "float32", "threads": 1, "max_batched_tokens": LONG, "max_batched_items": 128,
        "kv_cache_mib": 64, "gpu_memory_fraction": 0.9, **changes,
    }  # fmt: skip
    return EngineOptions(**options)


LONG = CHECKPOINT.max_tokens


def make_prompts(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Token ids at random: no two prompts share a beginning that a cache could know."""
    random = np.random.default_rng(seed)
    return [random.integers(5, 4000, length).tolist() for length in lengths]


def run_openvino(**changes: Any) -> RunningEngine:
    from engine.openvino import start_engine as start

    engine = start(CHECKPOINT, make_options(**changes))

    class Broken:
        def infer(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("no")

    def kill() -> None:
        engine._requests = [Broken() for _ in engine._requests]

    return RunningEngine("openvino", engine, kill)


def run_vllm() -> RunningEngine:
    """As the service runs it: the engine's process imports `service.command` first."""
    choice = EngineChoice("vllm", "", "")
    before = set(multiprocessing.active_children())
    environment = {**make_unmeasured_environment(), "NCAL_LOG_LEVEL": "warning"}
    with patch.dict(os.environ, environment, clear=True), pytest.MonkeyPatch.context() as change:
        change.setitem(sys.modules, "__main__", service.command)
        prepare_engine(choice, threads=1)
        engine = start_engine(choice, CHECKPOINT, make_options())
    (process,) = set(multiprocessing.active_children()) - before
    return RunningEngine("vllm", engine, process.kill)
