"""A recipe for a table of somebody's own, after its size and the machine."""

from pathlib import Path
from typing import Any

from training.proposal.machine import Machine
from training.recipe.recipe import TrainRecipe

BUNDLED = Path(__file__).resolve().parents[2] / "service" / "checkpoints" / "ncal-mini"
"""The only pretrained decoder that is always at hand."""
_BACKBONES = (
    (70.0, "Qwen/Qwen2.5-7B-Instruct"),
    (30.0, "Qwen/Qwen2.5-3B-Instruct"),
    (16.0, "Qwen/Qwen2.5-1.5B-Instruct"),
    (0.1, "Qwen/Qwen2.5-0.5B-Instruct"),
)
"""GiB of GPU memory from which → backbone, in bfloat16 under adapters."""
_LEAST_STEPS = 300
_MANY = 2000
"""Examples from which three folds tell enough."""


def propose_recipe(
    *,
    name: str,
    table: Path,
    columns: dict[str, str | None],
    label_set: Path,
    folder: Path,
    output: Path,
    examples: int,
    smallest: int,
    backbone: str | None,
    machine: Machine,
) -> TrainRecipe:
    """Return the recipe; `examples` of which the rarest label has `smallest`.

    On a CPU every weight of the bundled model is trained, on a GPU adapters on the largest
    backbone that fits its memory. Few examples are seen in more epochs.
    """
    large = machine.gpu_gib > 0.0 if backbone is None else False
    batch_size = 32 if examples < 1000 else 64
    epochs = min(20, max(3, -(-_LEAST_STEPS * batch_size // examples)))
    fields: dict[str, Any] = {
        "name": name,
        "backbone": backbone or _choose_backbone(machine),
        "output": output,
        "work": folder / "work",
        "sources": [{"path": table, "format": "table", "task": name, "columns": columns}],
        "label_sets": [label_set],
        "prompt": {"version": "compact-1", "max_tokens": 512 if large else 256},
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.05} if large else None,
        "loss": {"name": "logit-adjusted", "tc_weight": 0.1},
        "optimisation": {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": 1e-4 if large else 3e-4,
            "weight_decay": 0.05,
            "bf16": machine.has_bfloat16,
            "gradient_checkpointing": large,
        },
        "augmentation": {"drop_following": 0.4, "drop_previous": 0.1},
        "evaluation": {"folds": min(3 if examples >= _MANY else 5, max(2, smallest))},
        "report_to": (),
    }
    if large:
        fields["loading"] = {"dtype": "bfloat16"}
    return TrainRecipe.model_validate(fields)


def _choose_backbone(machine: Machine) -> str:
    fitting = (each for least, each in _BACKBONES if machine.gpu_gib >= least)
    return next(fitting, str(BUNDLED))
