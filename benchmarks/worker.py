"""vLLM in a process of its own, without any server: what the service is compared with.

`python -m benchmarks.worker offline|engine <checkpoint>`: a line of JSON in for each
measurement, a line out. `offline` is `LLM.classify` over all texts at once, tokenizing
included, with vLLM's own bounds of a step. `engine` asks the engine of the service for one
item at a time, tokenized beforehand, with a pause before each.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from contract.inputs import Problem
from contract.prompts import PromptEncoder
from engine.checkpoint import Checkpoint, load_checkpoints, load_prompt_encoders
from service.process import make_engine_options
from service.settings import Settings

TASK = "timss"


def main(mode: str, directory: str) -> None:
    # vLLM and its processes log to the standard output: what they take for it is the error
    # output from here on, and `answers` is where it went before.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings = Settings(checkpoint=(Path(directory),))
    (checkpoint,) = load_checkpoints(settings.checkpoint)
    encoder = load_prompt_encoders(checkpoint)[TASK]
    if mode == "offline":
        _run_offline(settings, checkpoint, encoder, answers)
    else:
        asyncio.run(_run_engine(settings, checkpoint, encoder, answers))


def _run_offline(
    settings: Settings, checkpoint: Checkpoint, encoder: PromptEncoder, answers: BinaryIO
) -> None:
    from vllm import LLM
    from vllm.inputs import TokensPrompt

    llm = LLM(
        model=str(checkpoint.directory),
        runner="pooling",
        dtype=settings.dtype,
        load_format="safetensors",
        skip_tokenizer_init=True,
        max_model_len=checkpoint.max_tokens,
        enforce_eager=True,
        kv_cache_memory_bytes=settings.kv_cache_mib * 2**20,
    )
    _answer(answers, {"ready": True})
    for line in sys.stdin.buffer:
        texts = orjson.loads(line)["texts"]
        started = time.perf_counter()
        prompts = encoder.encode([Problem(text=text) for text in texts])
        inputs = [TokensPrompt(prompt_token_ids=prompt.token_ids) for prompt in prompts]
        outputs = llm.classify(inputs, use_tqdm=False)
        seconds = time.perf_counter() - started
        assert len(outputs) == len(texts)
        tokens = sum(len(prompt.token_ids) for prompt in prompts)
        _answer(answers, {"seconds": seconds, "tokens": tokens})


async def _run_engine(
    settings: Settings, checkpoint: Checkpoint, encoder: PromptEncoder, answers: BinaryIO
) -> None:
    from engine.vllm.engine import start_engine

    engine = start_engine(checkpoint, make_engine_options(settings, engines=1))
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


if __name__ == "__mp_main__":  # in the engine's process
    import engine.vllm.kernels  # noqa: F401

if __name__ == "__main__":
    main(*sys.argv[1:])
