"""A recipe for a table of somebody's own, after its size and the machine."""

from pathlib import Path
from typing import Any

from training.models.backbone_check import count_parameters
from training.proposal.machine import Machine
from training.proposal.sources import Sources
from training.recipe.recipe import CardRecipe, TrainRecipe

BUNDLED = Path(__file__).resolve().parents[2] / "service" / "checkpoints" / "ncal-mini"
"""The only pretrained decoder that is always at hand."""
_BACKBONES = (
    (70.0, "Qwen/Qwen2.5-7B-Instruct"),
    (30.0, "Qwen/Qwen2.5-3B-Instruct"),
    (16.0, "Qwen/Qwen2.5-1.5B-Instruct"),
    (0.1, "Qwen/Qwen2.5-0.5B-Instruct"),
)
"""GiB of GPU memory from which → backbone, in bfloat16 under adapters."""
_LARGE = 200_000_000
"""Parameters from which adapters are trained, and not every weight."""
_LEAST_STEPS = 220
_MANY = 2000
"""Examples from which three folds tell enough."""


def propose_recipe(
    *,
    name: str,
    sources: Sources,
    label_set: Path,
    folder: Path,
    output: Path,
    smallest: int,
    backbone: str | None,
    machine: Machine,
    card: CardRecipe,
) -> TrainRecipe:
    """Return the recipe for data whose rarest label has `smallest` examples.

    On a CPU every weight of the bundled model is trained, on a GPU adapters on the largest
    backbone that fits its memory, as on any large one that is named. Few examples are seen in
    more epochs. Raises BadInput for a backbone whose configuration cannot be read.
    """
    chosen = backbone or _choose_backbone(machine)
    large = machine.gpu_gib > 0.0 if backbone is None else count_parameters(backbone) >= _LARGE
    examples = len(sources.records)
    batch_size = 32 if examples < 1000 else 64
    epochs = min(20, max(3, -(-_LEAST_STEPS * batch_size // examples)))
    fields: dict[str, Any] = {
        "name": name,
        "backbone": chosen,
        "output": output,
        "work": folder / "work",
        "sources": [each.model_dump() for each in sources.train],
        "dev": sources.dev,
        "test": sources.test,
        "label_sets": [label_set],
        "prompt": {
            "version": "instruct-1" if large else "compact-1",
            "max_tokens": 512 if large else 256,
        },
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
        "card": card,
        "report_to": (),
    }
    if large:
        fields["loading"] = {"dtype": "bfloat16"}
    return TrainRecipe.model_validate(fields)


def _choose_backbone(machine: Machine) -> str:
    fitting = (each for least, each in _BACKBONES if machine.gpu_gib >= least)
    return next(fitting, str(BUNDLED))
