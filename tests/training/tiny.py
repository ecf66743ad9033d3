"""A backbone and data small enough to train in a test, and their recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from contract.labels import IRF, TIMSS
from training.pretraining.tokenizer import ASSISTANT, USER, train_tokenizer
from training.recipe.recipe import TrainRecipe

_WORDS = ["三角形", "有几条边", "解方程", "一共多少", "最大", "平均分", "估算", "周长"]
_REPLIES = ["对。", "等于五", "为什么？", "很好", "听得见吗", "先通分", "不会", "想一想分母"]
DECODERS = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    texts = [
        f"{word}{number}，{reply}" for word in _WORDS for reply in _REPLIES for number in "0369"
    ]
    return train_tokenizer(texts, vocab_size=420)


def make_qwen_tokenizer() -> Qwen2Tokenizer:
    """A tokenizer of Qwen2's own type that knows single bytes only."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab={byte: index for index, byte in enumerate(alphabet)})
    tokenizer.add_special_tokens({"extra_special_tokens": [USER, ASSISTANT]})
    tokenizer.chat_template = make_tokenizer().chat_template
    return tokenizer


def make_backbone(folder: Path, family: str = "llama") -> Path:
    """Write a random two-layer decoder; its heads have a size that vLLM's CPU kernels know."""
    tokenizer = make_qwen_tokenizer() if family == "qwen2" else make_tokenizer()
    config_class, model_class = DECODERS[family]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: PreTrainedModel = model_class(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_data(folder: Path, per_class: int = 6) -> None:
    """Write both data sets: the word gives the class away, so a model can learn it."""
    problems = [
        {"id": f"p{label.id}{i}", "question": f"{word}{i}？", "class": label.data_label}
        for label, word in zip(TIMSS.labels, _WORDS, strict=False)
        for i in range(per_class)
    ]
    turns = [
        {
            "id": f"t{label.id}{i}",
            "dialog_content": f"{reply}{i}",
            "class": label.data_label,
            "dialog_history": [{"teacher": "看题"}, {"student": f"{reply}{i}"}, {"teacher": "好"}],
        }
        for label, reply in zip(IRF.labels, _REPLIES, strict=True)
        for i in range(per_class)
    ]
    write_lines(folder / "problems.jsonl", problems)
    write_lines(folder / "turns.jsonl", turns)


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_recipe(folder: Path, **changes: Any) -> TrainRecipe:
    """A recipe over `folder`/backbone and the two data files; nested keys are merged."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "backbone": str(folder / "backbone"),
        "output": folder / "checkpoint",
        "work": folder / "work",
        "sources": [
            {"path": folder / "problems.jsonl", "format": "tmwpl", "task": "timss"},
            {"path": folder / "turns.jsonl", "format": "pmtd", "task": "irf"},
        ],
        "prompt": {"version": "compact-1", "max_tokens": 64},
        "lora": {"rank": 4, "alpha": 8},
        "loss": {"name": "logit-adjusted", "tc_weight": 0.1},
        "optimisation": {"epochs": 5, "batch_size": 16, "learning_rate": 1e-2, "bf16": False},
        # Texts of a class differ by their number alone: they would be one group.
        "evaluation": {"folds": 2, "grouped": False, "parity_items": 40},
        "export_dtype": "float32",
    }
    for name, value in changes.items():
        merged = isinstance(value, Mapping) and isinstance(fields.get(name), dict)
        fields[name] = fields[name] | dict(value) if merged else value
    return TrainRecipe.model_validate(fields)


def make_taught(folder: Path, **changes: Any) -> TrainRecipe:
    """A recipe as above with a teacher for problems and 20 problems for it to label."""
    make_data(folder)
    texts = [{"text": f"周长{n}？", "source": "made-up"} for n in range(10, 30)]
    texts += [
        {"text": "三角形0！", "source": "made-up"},  # stands in the data
        {"text": "周长等于边长的和", "source": "made-up-analysis"},  # no problem
    ]
    write_lines(folder / "texts.jsonl", texts)
    unlabelled = {"path": folder / "texts.jsonl", "format": "math-problems", "task": "timss",
                  "per_epoch": 8}  # fmt: skip
    fields = {"support": [unlabelled], "distillation": {"weights": {"timss": 0.5}, "parts": 2}}
    return make_recipe(folder, **fields | changes)
