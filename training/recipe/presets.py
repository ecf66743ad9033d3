"""Named choices of loss, head and sampling, each with its source."""

import copy
from collections.abc import Mapping
from typing import Any

from training.errors import BadInput

UNLABELLED_FORMAT = "math-problems"
"""The format of files without labels."""
_LEARNED = {"init": "random", "trainable": True}
_TC = {"tc_weight": 0.1, "tc_max_norm": 1.0, "tc_pairs": "different"}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "ce": {
        "loss": {"name": "cross-entropy"},
        "head": _LEARNED,
        "optimisation": {"sampling": "instance"},
    },
    "ncal": {
        "loss": {"name": "cross-entropy", **_TC},
        "head": _LEARNED,
        "optimisation": {"sampling": "instance"},
    },
    "ncal-paper": {
        "loss": {"name": "cross-entropy", **_TC},
        "head": _LEARNED,
        "lora": {
            "rank": 8,
            "alpha": 32,
            "dropout": 0.1,
            "targets": ["q_proj", "k_proj", "v_proj", "o_proj"],
        },
        "prompt": {"version": "instruct-1", "max_tokens": 2048},
        "optimisation": {"sampling": "instance", "learning_rate": 2.0e-4},
    },
    "logit-adjusted": {
        "loss": {"name": "logit-adjusted", "tau": 1.0},
        "head": _LEARNED,
        "optimisation": {"sampling": "instance"},
    },
    "logit-adjusted-tc": {
        "loss": {"name": "logit-adjusted", "tau": 1.0, **_TC},
        "head": _LEARNED,
        "optimisation": {"sampling": "instance"},
    },
    "etf-fixed": {
        "loss": {"name": "dot-regression"},
        "head": {"init": "etf", "trainable": False},
        "optimisation": {"sampling": "instance"},
    },
    "recommended": {
        "loss": {"name": "logit-adjusted", "tau": 1.0, **_TC},
        "head": _LEARNED,
        "optimisation": {"sampling": "instance"},
    },
}
"""Name → sections of a recipe.

- `ce`: plain cross-entropy, the reference of every comparison.
- `ncal`: cross-entropy and text-modality collapse, λ = 0.1, E_W = 1, pairs of different
  classes (Hu et al., ICML 2025).
- `ncal-paper`: the same with every parameter of the paper's released code: LoRA of rank 8, α 32,
  dropout 0.1 on q/k/v/o, learning rate 2e-4, 2,048 tokens.
- `logit-adjusted`: τ = 1, consistent for the balanced error (Menon et al., ICLR 2021).
- `logit-adjusted-tc`: the same with the TC term of `ncal`.
- `etf-fixed`: the head is a simplex ETF from start to end and dot-regression pulls the
  features to it (Yang et al., NeurIPS 2022). Nothing in that loss corrects for the class prior;
  `loss.name=cosine` does, with the same head.
- `recommended`: what the bundled checkpoint is trained with; the teacher is the recipe's own.

`loss`, `head` and `lora` are whole sections, keys left out take their defaults; of `optimisation`
and `prompt` only what is named is changed. The published methods have no teacher: under them
`distillation` is off, and texts without labels are left out.
"""


def apply_preset(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the raw recipe with the preset's values in place of its own.

    Raises BadInput that lists the presets when there is none of that name.
    """
    preset = _find(name)
    plain = {key: value for key, value in raw.items() if key != "preset"}
    if name != "recommended":
        plain = _leave_out_teacher(plain)
    partly = {
        section: {**(plain.get(section) or {}), **preset[section]}
        for section in ("optimisation", "prompt")
        if section in preset
    }
    return plain | preset | partly


def fill_from_preset(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve the key `preset: NAME` of a recipe; what the recipe itself says goes first.

    Raises ValueError that lists the presets when there is none of that name.
    """
    filled = {key: value for key, value in raw.items() if key != "preset"}
    try:
        preset = _find(raw["preset"])
    except BadInput as error:
        raise ValueError(str(error)) from error
    for section, values in preset.items():
        filled[section] = values | (filled.get(section) or {})
    return filled


def _leave_out_teacher(raw: dict[str, Any]) -> dict[str, Any]:
    """Support that is not what it should be is left to the recipe's own checks."""
    support = raw.get("support")
    if isinstance(support, list):
        support = [
            each
            for each in support
            if not isinstance(each, dict) or each.get("format") != UNLABELLED_FORMAT
        ]
        raw = raw | {"support": support}
    return raw | {"distillation": None}


def _find(name: Any) -> dict[str, dict[str, Any]]:
    if name not in PRESETS:
        raise BadInput(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return copy.deepcopy(PRESETS[name])  # overrides are written into what is returned
