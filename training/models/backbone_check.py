"""What can be known of a backbone from its configuration alone, before its weights are loaded.

An hour of training that fails at the end costs more than a second of looking first.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import check_target_module_exists
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from training.errors import BadInput
from training.models.model import make_lora_config
from training.recipe.recipe import TrainRecipe

_LARGE = 1_000_000_000
"""Parameters from which training on a CPU takes weeks."""
_GIB = 2**30
_BYTES = {"float32": 4, "bfloat16": 2}
_FOUR_BIT = 0.52
"""Bytes of a weight in 4 bits, with its share of the constants of its block."""


def check_backbone(recipe: TrainRecipe) -> None:
    """Raise BadInput for what would fail, or never end, once the weights are loaded.

    Looks at the kind of model, the length of prompts, the layers that adapters name, the
    memory, and whether a model of billions has a GPU.
    """
    if recipe.loading.four_bit and importlib.util.find_spec("bitsandbytes") is None:
        raise BadInput(
            "loading.four_bit: bitsandbytes is not installed; pip install bitsandbytes, or set "
            "loading.dtype bfloat16 in its place"
        )
    config = _load_config(recipe.backbone, recipe.loading.revision)
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and recipe.prompt.max_tokens > longest:
        raise BadInput(
            f"prompt.max_tokens {recipe.prompt.max_tokens}: {recipe.backbone} reads at most "
            f"{longest} tokens"
        )
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    _check_targets(recipe, model)
    parameters = sum(weight.numel() for weight in model.parameters())
    _check_device(recipe, parameters)
    linear = sum(
        each.weight.numel()
        for name, each in model.named_modules()
        if isinstance(each, torch.nn.Linear) and name != "score"
    )
    needed, found = estimate_memory(recipe, parameters, linear), _find_memory()
    if needed > found:
        raise BadInput(
            f"{recipe.backbone} has {parameters / 1e9:.2g} billion parameters: its training holds "
            f"at least {needed / _GIB:.1f} GiB, and there are {found / _GIB:.1f}; set lora, "
            "loading.dtype bfloat16 or loading.four_bit, or take a smaller backbone"
        )


def estimate_memory(recipe: TrainRecipe, parameters: int, linear: int = 0) -> float:
    """Bytes that weights, gradients and AdamW's two moments take at least, without activations.

    All in float32 where every weight is trained; adapters are left out, they are small. `linear`
    of the parameters can be held in 4 bits. Of shards, those of one process.
    """
    width = 16.0 if recipe.lora is None else float(_BYTES[recipe.loading.dtype])
    whole = parameters - linear if recipe.loading.four_bit else parameters
    total = whole * width + (parameters - whole) * _FOUR_BIT
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return total / processes if recipe.trainer.get("fsdp") else total


def count_parameters(backbone: str) -> int:
    """Parameters of a backbone as a classifier, from its configuration; BadInput as above."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(_load_config(backbone, None))
    return sum(weight.numel() for weight in model.parameters())


def _load_config(backbone: str, revision: str | None) -> PretrainedConfig:
    try:
        config = AutoConfig.from_pretrained(backbone, revision=revision or "main")
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(
            f"{backbone}: its configuration cannot be read: {reason}; is the name right, "
            "and the hub within reach (or HF_ENDPOINT set)?"
        ) from error
    if type(config) not in cast(Mapping[Any, Any], MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING):
        raise BadInput(
            f"{backbone}: transformers has no classifier for the model type "
            f"{config.model_type!r}; take a decoder such as llama, qwen2 or mistral"
        )
    return cast(PretrainedConfig, config)


def _check_targets(recipe: TrainRecipe, model: Any) -> None:
    """PEFT would tell of a wrong name only after all weights are loaded."""
    if recipe.lora is None or isinstance(recipe.lora.targets, str):
        return
    config = make_lora_config(recipe.lora)
    names = [name for name, _ in model.named_modules()]
    for target in recipe.lora.targets:
        config.target_modules = [target]
        if not any(check_target_module_exists(config, name) for name in names):
            layers = sorted(
                {
                    name.rpartition(".")[2]
                    for name, each in model.named_modules()
                    if isinstance(each, torch.nn.Linear)
                }
            )
            raise BadInput(
                f"lora.targets: {recipe.backbone} has no layer {target!r}; there are: "
                f"{', '.join(layers)}"
            )


def _check_device(recipe: TrainRecipe, parameters: int) -> None:
    if torch.cuda.is_available() or parameters < _LARGE:
        return
    why = (
        "torch sees no GPU"
        if torch.version.cuda
        else "this torch is a CPU build: use the environment of `make setup ACCELERATOR=gpu`"
    )
    raise BadInput(
        f"{recipe.backbone} has {parameters / 1e9:.1f} billion parameters and would train on the "
        f"CPU for weeks; {why}"
    )


def _find_memory() -> float:
    """Bytes of the GPU, or of the machine; endless where the system does not say."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[1])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
