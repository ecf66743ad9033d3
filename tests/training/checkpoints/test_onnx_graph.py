"""The graph beside the weights says what transformers says, for every decoder it knows."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
)

from contract.manifest import GRAPH_NAME, WEIGHTS_NAME, CheckpointError, read_manifest
from engine.checkpoint import BUNDLED_CHECKPOINT
from training.__main__ import main
from training.checkpoints.onnx_graph import write_graph
from training.errors import BadInput

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "num_labels": 5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LLAMA = (LlamaConfig, LlamaForSequenceClassification)
QWEN2 = (Qwen2Config, Qwen2ForSequenceClassification)
MISTRAL = (MistralConfig, MistralForSequenceClassification)
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (LLAMA, {"num_key_value_heads": 4}),
    "llama-grouped": (LLAMA, {"num_key_value_heads": 2}),
    "llama-biases": (LLAMA, {"attention_bias": True, "mlp_bias": True}),
    "llama-head-size": (LLAMA, {"head_dim": 32, "num_key_value_heads": 1}),
    "llama-3": (LLAMA, {"rope_parameters": LLAMA3}),
    "llama-linear": (
        LLAMA,
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 5e3, "factor": 2.0}},
    ),
    "qwen2": (QWEN2, {"num_key_value_heads": 2}),
    "qwen2-window": (
        QWEN2,
        {
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 1,
        },
    ),
    "mistral": (MISTRAL, {"num_key_value_heads": 2, "sliding_window": None}),
    "mistral-window": (MISTRAL, {"num_key_value_heads": 2, "sliding_window": 5}),
}


def save_model(folder: Path, kind: Any, options: dict[str, Any], dtype: torch.dtype) -> Any:
    config_class, model_class = kind
    torch.manual_seed(0)
    model = model_class(config_class(**SIZES | options)).to(dtype)
    for parameter in model.parameters():  # norms of one and biases of nothing would hide faults
        torch.nn.init.normal_(parameter, mean=0.1 * (parameter.dim() == 1), std=0.2)
    model.save_pretrained(folder)
    return model.float().eval()


def run_graph(folder: Path, prompts: list[list[int]]) -> Any:
    lengths = np.array([len(prompt) for prompt in prompts])
    ids = np.zeros((len(prompts), lengths.max()), np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(folder / GRAPH_NAME), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled({"ids": ids, "lengths": lengths})[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_the_graph_gives_the_logits_of_transformers(
    case: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    kind, options = CASES[case]
    model = save_model(tmp_path, kind, options, dtype)
    write_graph(tmp_path)
    random = np.random.default_rng(0)
    prompts = [random.integers(1, 50, length).tolist() for length in (17, 1, 40, 2, 9)]
    with torch.no_grad():
        expected = np.stack(
            [model(torch.tensor([each]), use_cache=False).logits[0].numpy() for each in prompts]
        )
    found = run_graph(tmp_path, prompts)
    assert np.abs(found - expected).max() < 2e-4 * max(1.0, np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # else anything would do


def test_the_graph_is_small_and_holds_no_weights(tmp_path: Path) -> None:
    save_model(tmp_path, *CASES["llama"], torch.bfloat16)
    write_graph(tmp_path)
    assert (tmp_path / GRAPH_NAME).stat().st_size < 40_000
    assert (tmp_path / WEIGHTS_NAME).stat().st_size > 200_000


def break_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    model = GPT2ForSequenceClassification(
        GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20, pad_token_id=0)
    )
    model.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"GPT2.* cannot become .*Llama.*Qwen2.*--engine vllm"):
        write_graph(tmp_path)
    assert not (tmp_path / GRAPH_NAME).exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_act": "gelu"}, "hidden_act gelu cannot .* supported: silu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "type yarn cannot"),
        ({"num_hidden_layers": 4}, "has no tensor model.layers.3"),
        ({"num_hidden_layers": 2}, "has an unknown tensor model.layers.2"),
        ({"attention_bias": True}, "has no tensor .*bias"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantized weights cannot"),
        ({"architectures": []}, "no configuration of a decoder"),
    ],
)
def test_what_cannot_become_a_graph(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    save_model(tmp_path, *CASES["llama"], torch.float32)
    break_config(tmp_path, **changes)
    with pytest.raises(BadInput, match=reason):
        write_graph(tmp_path)


def test_weights_that_are_no_safetensors_file(tmp_path: Path) -> None:
    save_model(tmp_path, *CASES["llama"], torch.float32)
    (tmp_path / WEIGHTS_NAME).write_bytes(b"\xff" * 64)
    with pytest.raises(BadInput, match="is no safetensors file"):
        write_graph(tmp_path)


def test_the_command_writes_the_bundled_graph_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder, copy_function=os.link)
    (folder / GRAPH_NAME).unlink()
    assert main(["export", "--onnx-only", str(folder)]) == 0
    assert capsys.readouterr().out == f"graph {folder / GRAPH_NAME}\n"
    assert (folder / GRAPH_NAME).read_bytes() == (BUNDLED_CHECKPOINT / GRAPH_NAME).read_bytes()


def test_the_command_refuses_what_is_no_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--onnx-only", str(tmp_path / "nowhere")]) == 2
    assert "is no checkpoint" in capsys.readouterr().err


def test_a_graph_that_is_not_the_manifest_s_is_refused_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder)
    with (folder / GRAPH_NAME).open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(CheckpointError, match=r"model\.onnx is not the file .*--onnx-only"):
        read_manifest(folder)
    (folder / GRAPH_NAME).unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx is not the file .*--onnx-only"):
        read_manifest(folder)
    assert main(["export", "--onnx-only", str(folder)]) == 0
    assert read_manifest(folder) == read_manifest(BUNDLED_CHECKPOINT)


def test_weights_of_another_checkpoint_get_no_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder)
    with (folder / WEIGHTS_NAME).open("ab") as file:
        file.write(b"\x00")
    assert main(["export", "--onnx-only", str(folder)]) == 2
    assert "not those of its manifest" in capsys.readouterr().err
