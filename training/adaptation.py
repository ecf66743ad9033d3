"""Task-adaptive pretraining: the backbone first reads the texts that it will be trained on.

A backbone seldom knows the style of a data set; going on with next-token prediction on its
texts, labels unseen, is cheap and often helps (Gururangan et al., ACL 2020; what it did for
the bundled tasks says `training/LOG.md`). Only the texts of the training part are read, so a
held-out fold stays held out.
"""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from contract.labels import LabelSet
from contract.prompts import format_message
from training.causal import Blocks, CausalTrainer, build_arguments
from training.data import Example, augment
from training.errors import BadInput
from training.method import AdaptationRecipe
from training.processes import count_processes
from training.recipe import TrainRecipe
from training.resume import RUN_FILE, check_same, describe_run, name_write_errors


def adapt(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    run_folder: Path,
) -> TrainRecipe:
    """Let the backbone read the examples; return the recipe over what it became.

    That is kept in `run_folder` until `forget_adapted`, for a fit that is killed. Without
    `recipe.adaptation` the recipe is returned as it is. Raises BadInput if the folder holds
    what another recipe or other examples made, if it cannot be written, if the examples do
    not fill a block, and in more than one process.
    """
    if recipe.adaptation is None:
        return recipe
    if count_processes() > 1:
        raise BadInput("adaptation runs in one process; start it without torchrun")
    folder = _folder(run_folder)
    run = describe_run(recipe, examples, label_sets)
    if folder.is_dir():
        check_same(folder, run)
    else:
        print(f"adapting the backbone to {len(examples)} texts", flush=True)
        with name_write_errors(run_folder):
            staging = folder.with_name(folder.name + ".partial")
            shutil.rmtree(staging, ignore_errors=True)
            _train(recipe, recipe.adaptation, examples, tokenizer, staging).save_pretrained(staging)
            (staging / RUN_FILE).write_text(json.dumps(run, ensure_ascii=False), encoding="utf-8")
            staging.rename(folder)
    return recipe.model_copy(update={"backbone": str(folder)})


def forget_adapted(run_folder: Path) -> None:
    """Remove the backbone that a finished fit started from."""
    shutil.rmtree(_folder(run_folder), ignore_errors=True)


def _train(
    recipe: TrainRecipe,
    adaptation: AdaptationRecipe,
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    logs: Path,
) -> PreTrainedModel:
    options = recipe.optimisation
    torch.compiler.reset()
    set_seed(options.seed)
    model = AutoModelForCausalLM.from_pretrained(recipe.backbone, dtype=torch.float32)
    if not torch.cuda.is_available():  # as in training/model.py
        model.set_attn_implementation("eager")
    model.config.use_cache = False
    blocks = Blocks(
        _iterate_documents(recipe, adaptation, examples, tokenizer), adaptation.block_tokens
    )
    if not len(blocks):
        raise BadInput(
            f"adaptation.block_tokens {adaptation.block_tokens}: all examples together are "
            "shorter; lower it"
        )
    batch_size = min(adaptation.batch_size, len(blocks))
    arguments = build_arguments(
        logs,
        batch_size=batch_size,
        warmup_steps=round(len(blocks) // batch_size * adaptation.warmup_fraction),
        seed=options.seed,
        save_strategy="no",
    )
    trainer = CausalTrainer(
        model,
        arguments,
        blocks,
        muon_learning_rate=adaptation.muon_learning_rate,
        learning_rate=adaptation.learning_rate,
        weight_decay=adaptation.weight_decay,
        bf16=options.bf16,
        compile=options.compile,
    )
    trainer.train()
    return cast(PreTrainedModel, trainer.accelerator.unwrap_model(trainer.model))


def _iterate_documents(
    recipe: TrainRecipe,
    adaptation: AdaptationRecipe,
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[list[int]]:
    """Token ids of each example as the user's message, changed anew in every epoch."""
    rng = random.Random(recipe.optimisation.seed)
    for _ in range(adaptation.epochs):
        for example in rng.sample(list(examples), len(examples)):
            item = augment(example.item, recipe.augmentation, rng)
            message = format_message(item, recipe.prompt.version, recipe.prompt.window)
            conversation = [{"role": "user", "content": message}]
            ids = tokenizer.apply_chat_template(conversation, return_dict=False)
            yield cast(list[int], ids)


def _folder(run_folder: Path) -> Path:
    return run_folder / "adapted"
