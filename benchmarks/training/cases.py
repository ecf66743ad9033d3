"""What `benchmarks.training` trains on: backbones, data and recipes.

Backbones other than the bundled one have random weights in the shape of a published model:
speed and memory do not depend on what the weights say. Their tokenizer is the bundled
checkpoint's, because the published ones cannot be shipped; it makes other tokens of a text,
and never more kinds of them than their embeddings have rows. They are Llama decoders:
Qwen2's differ by three bias vectors a layer.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.load.problems import make_problems
from contract.labels import TIMSS
from engine.checkpoint import BUNDLED_CHECKPOINT
from training.recipe.recipe import TrainRecipe

SHARED_DATA = Path("../shared/data/ncal")
BUNDLED_BACKBONE = Path("build/ncal-mini-backbone")
_GENERATED_PROBLEMS = 4096

_QWEN_05B = {
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "head_dim": 64,
    "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
_QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "head_dim": 128,
    "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip
_COMPACT = {"version": "compact-1", "max_tokens": 256}
_INSTRUCT = {"version": "instruct-1", "max_tokens": 512}
_BUNDLED_LORA = {"rank": 32, "alpha": 64}
_QWEN_LORA = {"rank": 16, "alpha": 32, "dropout": 0.05}


class Case(NamedTuple):
    """One row of the comparison: a shape, and how our recipes train it."""

    name: str
    shape: Mapping[str, Any] | None
    """Fields of the decoder's configuration; None is the bundled model's shape."""
    prompt: Mapping[str, Any]
    lora: Mapping[str, Any] | None
    batch_size: int
    batches: int
    """Batches in an epoch."""
    learning_rate: float
    compile: bool = False
    gradient_checkpointing: bool = False


CASES = {
    "cpu": [
        Case("bundled model, LoRA", None, _COMPACT, _BUNDLED_LORA, 64, 12, 1.5e-3, compile=True),
        Case("bundled model, all weights", None, _COMPACT, None, 64, 12, 5e-4, compile=True),
        Case("Qwen2.5-0.5B's shape, LoRA", _QWEN_05B, _INSTRUCT, _QWEN_LORA, 16, 4, 1e-4),
    ],
    "cuda": [
        Case("Qwen2.5-0.5B's shape, LoRA", _QWEN_05B, _INSTRUCT, _QWEN_LORA, 32, 20, 1e-4),
        Case(
            "Qwen2.5-7B's shape, LoRA", _QWEN_7B, _INSTRUCT, _QWEN_LORA, 32, 10, 1e-4,
            gradient_checkpointing=True,
        ),
    ],
}  # fmt: skip
"""By device; the settings of `training/recipes`, with smaller batches where memory asks for it."""


def make_recipe(case: Case, backbone: Path, folder: Path, *, epochs: int) -> TrainRecipe:
    """Our recipe for a case: TC and logit adjustment. The reference reads the same file.

    Nothing is augmented: changed examples would have other lengths than those counted.
    """
    return TrainRecipe.model_validate(
        {
            "name": "benchmark",
            "backbone": str(backbone),
            "output": folder / "checkpoint",
            "work": folder,
            "sources": _find_sources(folder),
            "prompt": case.prompt,
            "lora": case.lora,
            "loss": {"name": "logit-adjusted", "tc_weight": 0.1},
            "optimisation": {
                "epochs": epochs,
                "batch_size": case.batch_size,
                "learning_rate": case.learning_rate,
                "bf16": True,
                "compile": case.compile,
                "gradient_checkpointing": case.gradient_checkpointing,
            },
        }
    )


def find_backbone(case: Case, given: Path, folder: Path) -> Path:
    """The one given, for the bundled shape; else random weights, written into `folder`."""
    if case.shape is None and given.is_dir():
        return given
    _write_random_backbone(case.shape, folder)
    return folder


def _write_random_backbone(shape: Mapping[str, Any] | None, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from training.models.model import load_tokenizer

    tokenizer = load_tokenizer(str(BUNDLED_CHECKPOINT))
    # The bundled checkpoint is a classifier; of its configuration only the decoder's part counts.
    bundled = LlamaConfig.from_pretrained(BUNDLED_CHECKPOINT)
    fields = (*_QWEN_05B, "attention_bias", "max_position_embeddings")
    config = LlamaConfig(
        **shape or {name: getattr(bundled, name) for name in fields},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()  # the runs need the room


def _find_sources(folder: Path) -> list[dict[str, Any]]:
    """The real data where they lie; else problems of our own, classes in turn."""
    if SHARED_DATA.is_dir():
        return [
            {"path": SHARED_DATA / "TMWPL_train.jsonl", "format": "tmwpl", "task": "timss"},
            {"path": SHARED_DATA / "PMTD_train.jsonl", "format": "pmtd", "task": "irf"},
        ]
    path = folder / "problems.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for index, text in enumerate(make_problems(_GENERATED_PROBLEMS, seed=1)):
            rows.writerow([text, TIMSS.labels[index % len(TIMSS.labels)].data_label])
    return [{"path": path, "format": "csv", "task": "timss"}]
