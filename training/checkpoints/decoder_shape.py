"""What `config.json` says of a decoder, as far as its graph needs to know; the rest is refused."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import BadInput

_BIASES = {
    "LlamaForSequenceClassification": "qkvo",
    "MistralForSequenceClassification": "",
    "Qwen2ForSequenceClassification": "qkv",
}
"""Architecture → projections of attention that have a bias (Llama's only if configured)."""


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """Sizes and choices of a Llama, Mistral or Qwen2 decoder with a linear head."""

    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    epsilon: float
    """Of RMSNorm."""
    windows: tuple[int | None, ...]
    """Of each layer: how many tokens back attention reaches, the token itself included."""
    attention_biases: str
    """Projections with a bias, as in `qkv`."""
    mlp_bias: bool
    frequencies: NDArray[np.float32]
    """(head_size / 2,) rotary angle of each pair of features at position 1, in radians."""

    @property
    def tensor_names(self) -> set[str]:
        """Every tensor that a checkpoint of this shape has, and no other."""
        names = {"model.embed_tokens.weight", "model.norm.weight", "score.weight"}
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            names |= {prefix + "input_layernorm.weight", prefix + "post_attention_layernorm.weight"}
            names |= {f"{prefix}self_attn.{each}_proj.weight" for each in "qkvo"}
            names |= {f"{prefix}self_attn.{each}_proj.bias" for each in self.attention_biases}
            for part in ("gate", "up", "down"):
                names |= {f"{prefix}mlp.{part}_proj.weight"}
                names |= {f"{prefix}mlp.{part}_proj.bias"} if self.mlp_bias else set()
        return names


def read_decoder_shape(folder: Path) -> DecoderShape:
    """Read the shape; BadInput names what cannot become a graph, and what can."""
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return _read_shape(path, config)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise BadInput(
            f"{path}: is no configuration of a decoder ({type(error).__name__}: {error}); "
            "export the checkpoint again"
        ) from error


def _read_shape(path: Path, config: dict[str, Any]) -> DecoderShape:
    (architecture,) = config["architectures"]
    if architecture not in _BIASES:
        _refuse(path, f"the architecture {architecture}", ", ".join(sorted(_BIASES)))
    if config.get("hidden_act", "silu") != "silu":
        _refuse(path, f"hidden_act {config['hidden_act']}", "silu")
    if config.get("quantization_config"):
        _refuse(path, "quantized weights", "float32, bfloat16, float16")
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or config["hidden_size"] // heads
    is_llama = architecture.startswith("Llama")
    biases = _BIASES[architecture]
    return DecoderShape(
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=config.get("num_key_value_heads") or heads,
        head_size=head_size,
        epsilon=config["rms_norm_eps"],
        windows=_read_windows(architecture, config),
        attention_biases=biases if not is_llama or config.get("attention_bias") else "",
        mlp_bias=is_llama and bool(config.get("mlp_bias")),
        frequencies=_read_frequencies(path, config, head_size),
    )


def _read_windows(architecture: str, config: dict[str, Any]) -> tuple[int | None, ...]:
    layers: int = config["num_hidden_layers"]
    if architecture.startswith("Mistral"):
        return (config["sliding_window"],) * layers
    if not architecture.startswith("Qwen2") or not config["use_sliding_window"]:
        return (None,) * layers
    types = config.get("layer_types") or [
        "sliding_attention" if layer >= config["max_window_layers"] else "full_attention"
        for layer in range(layers)
    ]
    windows = {"full_attention": None, "sliding_attention": config["sliding_window"]}
    return tuple(windows[each] for each in types)


def _read_frequencies(path: Path, config: dict[str, Any], size: int) -> NDArray[np.float32]:
    """Rotary frequencies, computed in float32 as transformers does."""
    # transformers 5 has one mapping; older releases had the base beside the scaling.
    rope = config.get("rope_parameters") or {
        "rope_theta": config.get("rope_theta", 10_000.0),
        **(config.get("rope_scaling") or {}),
    }
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "linear", "llama3"):
        _refuse(path, f"rotary embedding of type {kind}", "default, linear, llama3")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        _refuse(path, "partial rotary embedding", "a partial_rotary_factor of 1")
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    frequencies = (1.0 / np.float32(rope["rope_theta"]) ** exponents).astype(np.float32)
    if kind == "linear":
        frequencies = frequencies / np.float32(rope["factor"])
    if kind == "llama3":
        frequencies = _scale_as_llama3(frequencies, rope)
    return frequencies


def _scale_as_llama3(frequencies: NDArray[np.float32], rope: dict[str, Any]) -> NDArray[np.float32]:
    """Slow rotations are divided by the factor, fast ones kept, those between interpolated."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    scaled = (1.0 - share) * frequencies / rope["factor"] + share * frequencies
    return np.asarray(scaled, np.float32)


def _refuse(path: Path, what: str, known: str) -> None:
    raise BadInput(
        f"{path}: {what} cannot become model.onnx; supported: {known}. Serve this checkpoint "
        "with --engine vllm"
    )
