"""One fine-tuning run: examples and targets in, merged model out."""

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.integrations.fsdp import is_fsdp_enabled

from contract.labels import LabelSet
from training.data.batches import Collator, TrainingExamples, build_encoder
from training.fitting.collapse_history import CollapseHistory, choose_sample
from training.fitting.epoch_sampler import EpochSampler
from training.fitting.fit_data import Material
from training.fitting.muon import MuonWithAdamW
from training.fitting.processes import call_all, is_first, load_in_first, share
from training.fitting.resume import describe_run, name_write_errors, open_run
from training.fitting.teacher import Teacher, build_targets
from training.fitting.tracking import RunEnd, name_project, name_tracker_errors
from training.fitting.trainer import CollapseTrainer
from training.fitting.trainer import LossError as LossError
from training.fitting.trainer_arguments import build_arguments
from training.fitting.validation import Validation
from training.losses.objective import Objective
from training.models.heads import drop_auxiliary, fold_cosines, freeze_head, start_head
from training.models.model import add_lora, load_classifier, merge_lora
from training.models.prediction import AnyModel, predict_features
from training.recipe.recipe import TrainRecipe


class NotFirstError(Exception):
    """Of a sharded run the first process alone has the model, and this is another."""


def fine_tune(
    recipe: TrainRecipe, material: Material, run_folder: Path, teacher: Teacher, *, seed: int
) -> PreTrainedModel:
    """Fine-tune the backbone; return the merged float32 model, less the heads of auxiliary tasks.

    `seed` decides order and changes of the examples, and dropout; weights that are not the
    backbone's, and which examples are held back, are the recipe's seed's. The checkpoints stay
    in `run_folder` until `close_run`. Raises as `training.fit.fit` does.
    """
    merged = call_all(_train, recipe, material, run_folder, teacher, seed)
    if merged is None:
        raise NotFirstError
    if torch.cuda.is_available():  # shards were put together on the CPU, but answer from the GPU
        _free_memory()
        torch.nn.Module.cuda(merged)
    if recipe.loss.sees_cosines:
        tokenizer = material.tokenizer
        sample = choose_sample(material.training, recipe.optimisation.seed)
        encoder = build_encoder(tokenizer, recipe.prompt, material.label_sets)
        prompts = encoder.encode(sample)
        features = predict_features(merged, prompts, tokenizer.pad_token_id)
        merged = fold_cosines(merged, features, recipe.loss.scale)
    return drop_auxiliary(merged, material.label_sets)


def _train(
    recipe: TrainRecipe, material: Material, run_folder: Path, teacher: Teacher, seed: int
) -> PreTrainedModel | None:
    """The part of a fit that every process has a share of; the first returns the merged model."""
    _free_memory()
    # Graphs of the models before would count against the compiler's limit of versions.
    torch.compiler.reset()
    set_seed(recipe.optimisation.seed)
    with load_in_first(bool(recipe.trainer.get("fsdp"))):
        trained = _run_trainer(recipe, material, run_folder, teacher, seed)
        return (
            None if trained is None else cast(PreTrainedModel, merge_lora(trained).float().eval())
        )


def _run_trainer(
    recipe: TrainRecipe, material: Material, run_folder: Path, teacher: Teacher, seed: int
) -> AnyModel | None:
    """Train; return the model as a whole in float32 or bfloat16, adapters beside it.

    Of shards the first process alone returns it: the others have no room for it either.
    """
    model = build_model(recipe, material.every_set, material.tokenizer)
    every_example = [*material.everything, *material.held_back]
    run = describe_run(recipe, every_example, material.every_set)
    name_project(recipe)
    with name_write_errors(run_folder), name_tracker_errors():
        trainer = _build_trainer(recipe, model, material, run_folder, teacher, seed)
        checkpoint = share(open_run(run_folder, run) if is_first() else None)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    trainer.accelerator.wait_for_everyone()  # what others still read must not be removed yet
    if trainer.is_fsdp_enabled:
        # Each process holds a part of every weight; the first puts them together.
        weights = trainer.accelerator.get_state_dict(trainer.model)
        if not is_first():
            return None
        plain = build_model(recipe, material.every_set, material.tokenizer)
        plain.load_state_dict(weights)
        return plain
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if not recipe.loading.four_bit:
        return cast(AnyModel, trained)
    weights = get_peft_model_state_dict(trained)
    del trained, trainer, model
    _free_memory()
    return restore_adapters(recipe, material.every_set, material.tokenizer, weights)


def restore_adapters(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    weights: Mapping[str, Tensor],
) -> AnyModel:
    """Adapters and head that learned beside 4-bit weights, on the weights as they were before.

    A sum in 4 bits would round the adapters away.
    """
    loading = recipe.loading.model_copy(update={"four_bit": False})
    plain = build_model(recipe.model_copy(update={"loading": loading}), label_sets, tokenizer)
    on_cpu = {name: weight.cpu() for name, weight in weights.items()}
    report: Any = set_peft_model_state_dict(plain, on_cpu)
    assert not report.unexpected_keys  # both are this recipe's adapters
    return plain


def _free_memory() -> None:
    """Free what fits before left behind: model, optimiser and Trainer refer to one another.

    Otherwise a GPU would have to hold two of a 7B when the next fold begins.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def build_model(
    recipe: TrainRecipe, label_sets: Sequence[LabelSet], tokenizer: PreTrainedTokenizerBase
) -> AnyModel:
    """The backbone under its head, with adapters if the recipe has them, before training."""
    plain = load_classifier(recipe.backbone, tokenizer, label_sets, recipe.loading)
    seed = recipe.optimisation.seed
    if is_first() or not is_fsdp_enabled():  # else its head comes from the first process too
        start_head(plain, recipe.head, recipe.backbone, tokenizer, label_sets, seed)
    model = plain if recipe.lora is None else add_lora(plain, recipe.lora)
    if not recipe.head.trainable:
        freeze_head(model)
    return model


def _build_optimizer(recipe: TrainRecipe, model: AnyModel) -> MuonWithAdamW | None:
    """None leaves it to the Trainer, whose default is AdamW."""
    options = recipe.optimisation
    if options.muon_learning_rate is None:
        return None
    return MuonWithAdamW(
        model,
        muon_learning_rate=options.muon_learning_rate,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
    )


def _build_trainer(
    recipe: TrainRecipe,
    model: AnyModel,
    material: Material,
    run_folder: Path,
    teacher: Teacher,
    seed: int,
) -> CollapseTrainer:
    options = recipe.optimisation
    everything, every_set = material.everything, material.every_set
    label_sets, tokenizer = material.label_sets, material.tokenizer
    encoder = build_encoder(tokenizer, recipe.prompt, every_set)
    targets = share(
        build_targets(recipe.distillation, everything, every_set, options.sampling, teacher)
        if is_first()
        else []
    )
    dataset = TrainingExamples(everything, encoder, recipe.augmentation, seed, targets)
    sampler = EpochSampler(
        everything,
        dataset.lengths,
        options.sampling,
        batch_size=options.batch_size,
        seed=seed,
        per_epoch=material.support.per_epoch,
    )
    trainer = CollapseTrainer(
        model=model,
        args=build_arguments(recipe, len(sampler), run_folder, seed),
        train_dataset=dataset,
        data_collator=Collator(tokenizer.pad_token_id, [labels.task for labels in every_set]),
        objective=Objective(recipe, material.labelled, every_set),
        sampler=sampler,
        validation=Validation(recipe, material.held_back, material.labelled, label_sets, tokenizer)
        if material.held_back
        else None,
        patience=options.early_stopping_patience,
        optimizers=(_build_optimizer(recipe, model), None),
    )
    trainer.add_callback(CollapseHistory(trainer, recipe, material.training, label_sets, tokenizer))
    trainer.add_callback(RunEnd())
    return trainer
