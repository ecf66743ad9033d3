"""One fine-tuning run: examples in, merged model out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from contract.labels import LabelSet
from contract.prompts import Prompt
from training.batches import Collator, TrainingExamples, build_encoder, pad_prompts
from training.data import Example, measure_prior
from training.losses import LossName, classification_loss, collapse_loss, gather_with_gradient
from training.method import LossRecipe
from training.model import add_lora, assign_rows, compute_features, load_classifier, merge_lora
from training.recipe import TrainRecipe


class LossError(Exception):
    """The loss is not a number; the message names the step and the examples of the batch."""


def fit(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    *,
    run_folder: Path,
) -> PreTrainedModel:
    """Fine-tune the backbone on all examples and return the merged model, in float32."""
    options = recipe.optimisation
    set_seed(options.seed)
    plain = load_classifier(recipe.backbone, tokenizer, label_sets)
    model = plain if recipe.lora is None else add_lora(plain, recipe.lora)
    encoder = build_encoder(tokenizer, recipe.prompt)
    dataset = TrainingExamples(examples, encoder, recipe.augmentation, options.seed)
    trainer = CollapseTrainer(
        model=model,
        args=_arguments(recipe, len(dataset), run_folder),
        train_dataset=dataset,
        data_collator=Collator(tokenizer.pad_token_id, [labels.task for labels in label_sets]),
    )
    trainer.set_task_losses(recipe.loss, examples, label_sets)
    trainer.train()
    merged = merge_lora(trainer.accelerator.unwrap_model(trainer.model))
    return cast(PreTrainedModel, merged.float().eval())


class CollapseTrainer(Trainer):
    """The Trainer with L = L_cls + λ·L_TC, each task judged on its own rows of the head."""

    loss_is_scaled_for_ga = False  # so the Trainer divides by the number of accumulated batches
    _loss: LossRecipe
    _tasks: list[tuple[list[int], Tensor]]

    def set_task_losses(
        self, loss: LossRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
    ) -> None:
        """Tell the loss and, from the training examples, the class prior of each task."""
        rows = assign_rows(label_sets)
        self._loss = loss
        self._tasks = [
            (rows[labels.task], torch.tensor(measure_prior(examples, labels)))
            for labels in label_sets
        ]
        self._sums = {"loss_cls": 0.0, "loss_tc": 0.0, "batches_without_pair": 0.0}
        self._batches = 0

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """Sum of the tasks' losses, each weighted by its share of the batch."""
        features, scores = compute_features(model, inputs)
        total = scores.new_zeros(())
        for number, (rows, prior) in enumerate(self._tasks):
            chosen = inputs["task_numbers"] == number
            total = total + self._task_loss(
                features[chosen], scores[chosen][:, rows], inputs["labels"][chosen], prior
            ) * (chosen.sum() / len(chosen))
        if not torch.isfinite(total):
            raise LossError(
                f"step {self.state.global_step}: the loss is {total.item()}; "
                f"examples {', '.join(inputs['ids'])}"
            )
        self._batches += 1
        return (total, {"logits": scores}) if return_outputs else total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss, averaged since the last log."""
        if self._batches and "loss" in logs:
            logs |= {name: round(value / self._batches, 5) for name, value in self._sums.items()}
            self._sums = dict.fromkeys(self._sums, 0.0)
            self._batches = 0
        super().log(logs, start_time)

    def _task_loss(self, features: Tensor, logits: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
        loss = self._loss
        classification = classification_loss(
            cast(LossName, loss.name),
            logits,
            labels,
            prior.to(logits.device),
            tau=loss.tau,
            gamma=loss.gamma,
        )
        self._sums["loss_cls"] += classification.item() * len(labels) / self.args.train_batch_size
        if not loss.tc_weight:
            return classification
        collapse, pairs = collapse_loss(
            gather_with_gradient(features),
            gather_with_gradient(labels),
            logits.shape[1],
            max_norm=loss.tc_max_norm,
            pairs=loss.tc_pairs,
        )
        self._sums["loss_tc"] += collapse.item() * len(labels) / self.args.train_batch_size
        self._sums["batches_without_pair"] += float(pairs == 0)
        return classification + loss.tc_weight * collapse

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        dataset = cast(TrainingExamples, train_dataset or self.train_dataset)
        generator = torch.Generator().manual_seed(self.args.seed)
        return LengthGroupedSampler(
            self.args.train_batch_size, lengths=dataset.lengths, generator=generator
        )


def predict_scores(
    model: PreTrainedModel, prompts: Sequence[Prompt], pad_token_id: int, *, batch_size: int = 64
) -> NDArray[np.float32]:
    """Return all scores (items, rows of the head) in float32, in the order of the prompts."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids))
    scores = np.empty((len(prompts), cast(int, model.config.num_labels)), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = pad_prompts([prompts[i].token_ids for i in chosen], pad_token_id)
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            scores[chosen] = model(**batch).logits.float().cpu().numpy()
    return scores


def _arguments(recipe: TrainRecipe, items: int, run_folder: Path) -> TrainingArguments:
    options = recipe.optimisation
    steps = items // (options.batch_size * options.accumulation) * options.epochs
    hardware: Mapping[str, Any] = {} if torch.cuda.is_available() else {"use_cpu": True}
    return TrainingArguments(
        output_dir=str(run_folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=round(steps * options.warmup_fraction),
        max_grad_norm=1.0,
        bf16=options.bf16,
        torch_compile=options.compile,
        gradient_checkpointing=options.gradient_checkpointing,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        logging_steps=50,
        save_strategy="no",
        report_to="tensorboard",
        seed=options.seed,
        **hardware,
    )
