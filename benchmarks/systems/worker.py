"""What the service is compared with and is no server, each in a process of its own.

`python -m benchmarks.systems.worker MODE DTYPE CHECKPOINT`: a line of JSON in for each measurement,
a line out. `openvino` and `transformers` label all texts as fast as they can: tokenized at once,
sorted by length, in the steps that were fastest when they were tried (`{"tune": texts}`).
`engine` asks the engine of the service for one item at a time, tokenized beforehand, with a
pause before each.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from benchmarks.systems.machine import count_cores
from contract.inputs import Problem
from engine.checkpoint import Checkpoint, load_checkpoints, load_prompt_encoders
from engine.choice import choose_engine, prepare_engine, start_engine
from service.models.loading import make_engine_options
from service.settings import Settings

TASK = "timss"
STEP_TOKENS = (512, 1024, 2048, 4096)
Prompts = list[list[int]]
Compute = Callable[[list[Prompts]], None]


def main(mode: str, dtype: str, directory: str) -> None:
    # What libraries print goes to the error output; `answers` is where it went before.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings = Settings(checkpoint=(Path(directory),), dtype=dtype)  # type: ignore[arg-type]
    (checkpoint,) = load_checkpoints(settings.checkpoint)
    if mode == "engine":
        asyncio.run(_run_engine(settings, checkpoint, answers))
    else:
        make = _make_openvino if mode == "openvino" else _make_transformers
        _run_offline(checkpoint, make(checkpoint, dtype), answers)


def cut_into_steps(prompts: Prompts, max_tokens: int) -> Iterator[Prompts]:
    """Longest first, as many as fit with their padding."""
    step: Prompts = []
    for prompt in sorted(prompts, key=len, reverse=True):
        if step and (len(step) + 1) * len(step[0]) > max_tokens:
            yield step
            step = []
        step.append(prompt)
    yield step


def _run_offline(checkpoint: Checkpoint, ways: dict[str, Compute], answers: BinaryIO) -> None:
    encoder = load_prompt_encoders(checkpoint)[TASK]
    _answer(answers, {"ready": True})
    chosen, step_tokens = next(iter(ways)), STEP_TOKENS[0]

    def label(texts: Sequence[str], way: str, size: int) -> tuple[float, int]:
        started = time.perf_counter()
        prompts = [each.token_ids for each in encoder.encode([Problem(text=t) for t in texts])]
        ways[way](list(cut_into_steps(prompts, size)))
        return time.perf_counter() - started, sum(map(len, prompts))

    for line in sys.stdin.buffer:
        order = orjson.loads(line)
        if texts := order.get("tune"):
            tried = {}
            for _ in range(2):  # the first prepares the shapes of the steps
                for way in ways:
                    for size in STEP_TOKENS:
                        tried[way, size] = label(texts, way, size)[0]
            chosen, step_tokens = min(tried, key=lambda each: tried[each])
            _answer(answers, {"way": chosen, "step_tokens": step_tokens})
            continue
        seconds, tokens = label(order["texts"], chosen, step_tokens)
        _answer(answers, {"seconds": seconds, "tokens": tokens})


def _make_openvino(checkpoint: Checkpoint, dtype: str) -> dict[str, Compute]:
    """Plain OpenVINO, one stream on all cores and one for each of them."""
    import openvino

    core = openvino.Core()
    model = core.read_model(checkpoint.directory / "model.onnx")
    cores = count_cores()

    def make(streams: int) -> Compute:
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32" if dtype == "float32" else "bf16",
                "INFERENCE_NUM_THREADS": cores,
                "NUM_STREAMS": streams,
            },
        )
        queue = openvino.AsyncInferQueue(compiled, streams)

        def compute(steps: list[Prompts]) -> None:
            for step in steps:
                ids, lengths = _pad(step)
                # Copied: a shared array would be freed while its step still waits.
                queue.start_async({"ids": ids, "lengths": lengths})
            queue.wait_all()

        return compute

    return {f"{streams} streams": make(streams) for streams in sorted({1, cores})}


def _make_transformers(checkpoint: Checkpoint, dtype: str) -> dict[str, Compute]:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(count_cores())
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint.directory, dtype=getattr(torch, dtype), local_files_only=True
    ).eval()

    def compute(steps: list[Prompts]) -> None:
        for step in steps:
            ids, lengths = _pad(step, model.config.pad_token_id)
            mask = np.arange(ids.shape[1])[None] < lengths[:, None]
            with torch.inference_mode():
                model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long())

    return {"one process": compute}


def _pad(step: Prompts, padding: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    lengths = np.array([len(prompt) for prompt in step], np.int64)
    ids = np.full((len(step), int(lengths.max())), padding, np.int64)
    for row, prompt in zip(ids, step, strict=True):
        row[: len(prompt)] = prompt
    return ids, lengths


async def _run_engine(settings: Settings, checkpoint: Checkpoint, answers: BinaryIO) -> None:
    choice = choose_engine(settings.engine)
    prepare_engine(choice, settings.engine_threads)
    engine = start_engine(choice, checkpoint, make_engine_options(settings, engines=1))
    encoder = load_prompt_encoders(checkpoint)[TASK]
    _answer(answers, {"ready": True})
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        order = orjson.loads(line)
        prompts = encoder.encode([Problem(text=text) for text in order["texts"]])
        latencies_s = []
        for prompt in prompts:
            await asyncio.sleep(order["pause_s"])
            started = time.perf_counter()
            await engine.score(prompt.token_ids)
            latencies_s.append(time.perf_counter() - started)
        _answer(answers, {"latencies_s": latencies_s})
    await engine.shutdown()


def _answer(answers: BinaryIO, content: dict[str, Any]) -> None:
    answers.write(orjson.dumps(content) + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
