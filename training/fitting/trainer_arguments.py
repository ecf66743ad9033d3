"""From a recipe to the arguments of the Hugging Face Trainer."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from training.errors import BadInput
from training.fitting.processes import count_processes
from training.fitting.tracking import check_trackers
from training.fitting.validation import METRIC
from training.recipe.recipe import TrainRecipe


def build_arguments(
    recipe: TrainRecipe, items: int, run_folder: Path, seed: int
) -> TrainingArguments:
    """Arguments for a run over `items` training examples; `recipe.trainer` has the last word.

    Raises BadInput for a reporter that is not installed, for values the Trainer refuses, for
    DeepSpeed, and for processes that do not fit the GPUs or what the recipe asks for.
    """
    check_trackers(recipe)
    if recipe.trainer.get("deepspeed"):
        raise BadInput(
            "trainer.deepspeed: the export cannot put DeepSpeed's parts of the weights together; "
            "use trainer.fsdp under torchrun"
        )
    if recipe.trainer.get("fsdp") and count_processes() == 1:
        raise BadInput(
            "trainer.fsdp: shares the weights among several processes; start with torchrun "
            "--nproc-per-node=GPUS -m training …"
        )
    if recipe.optimisation.compile:
        # The layers share one graph: ready in a quarter of the time of one for all, as fast.
        os.environ.setdefault("ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION", "true")
    try:
        arguments = TrainingArguments(**_collect(recipe, items, run_folder, seed) | _read(recipe))
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(f"trainer: {error}") from error
    if arguments.n_gpu > 1:  # the Trainer would split the model's work, and the pairs of a batch
        raise BadInput(
            f"{arguments.n_gpu} GPUs are visible to one process; start with torchrun "
            f"--nproc-per-node={arguments.n_gpu} -m training …, or set CUDA_VISIBLE_DEVICES=0"
        )
    return arguments


def _read(recipe: TrainRecipe) -> dict[str, Any]:
    """`recipe.trainer`; of weights to be sharded the first process alone has the whole."""
    if not recipe.trainer.get("fsdp"):
        return recipe.trainer
    given = recipe.trainer.get("fsdp_config") or {}
    return recipe.trainer | {"fsdp_config": {"cpu_ram_efficient_loading": True} | given}


def _collect(recipe: TrainRecipe, items: int, run_folder: Path, seed: int) -> dict[str, Any]:
    options = recipe.optimisation
    processes = count_processes()
    if options.batch_size % processes:
        raise BadInput(
            f"optimisation.batch_size {options.batch_size} cannot be shared evenly among "
            f"{processes} processes; choose a multiple of {processes}"
        )
    steps = items // (options.batch_size * options.accumulation) * options.epochs
    saving = "epoch" if options.save_steps is None else "steps"
    validated = options.validation_share > 0
    arguments: dict[str, Any] = {
        "output_dir": str(run_folder),
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size // processes,
        "gradient_accumulation_steps": options.accumulation,
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(steps * options.warmup_fraction),
        "max_grad_norm": 1.0,
        "bf16": options.bf16,
        "torch_compile": options.compile,
        "gradient_checkpointing": options.gradient_checkpointing,
        "dataloader_drop_last": True,
        # Every weight has a gradient in every step: no need to look for those without.
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        "logging_steps": 50,
        "save_strategy": saving,
        "eval_strategy": saving if validated else "no",
        # The last whole checkpoint and the best one; the older goes when the newer is whole.
        "save_total_limit": 1,
        "load_best_model_at_end": validated,
        # An early stop counts on from where the killed run was.
        "restore_callback_states_from_checkpoint": True,
        "report_to": list(recipe.report_to),
        "run_name": f"{recipe.name} {run_folder}",
        "seed": seed,
    }
    if options.save_steps is not None:
        arguments |= {"save_steps": options.save_steps, "eval_steps": options.save_steps}
    if validated:
        arguments |= {"metric_for_best_model": METRIC, "greater_is_better": True}
    if not torch.cuda.is_available():
        arguments["use_cpu"] = True
    return arguments
