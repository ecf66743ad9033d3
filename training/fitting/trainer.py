"""The Hugging Face Trainer with this project's loss, order of examples and checkpoints."""

import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import EarlyStoppingCallback, Trainer

from training.data.batches import TrainingExamples
from training.fitting.epoch_sampler import EpochSampler, EpochTeller
from training.fitting.processes import share
from training.fitting.resume import refuse_writing
from training.fitting.validation import Validation
from training.losses.objective import Objective
from training.models.heads import find_head
from training.models.model import compute_features


class LossError(Exception):
    """The loss is not a number; the message names the step and the examples of the batch."""


class CollapseTrainer(Trainer):
    """The Trainer with L = L_cls + λ·L_TC, each task judged on its own rows of the head."""

    loss_is_scaled_for_ga = False  # so the Trainer divides by the number of accumulated batches

    def __init__(
        self,
        *,
        objective: Objective,
        sampler: EpochSampler,
        validation: Validation | None,
        patience: int | None,
        **options: Any,
    ) -> None:
        # The Trainer wants an evaluation set; what it is goes through `evaluate` alone.
        super().__init__(eval_dataset=[] if validation else None, **options)
        self._objective = objective
        self._sampler = sampler
        self._validation = validation
        self.add_callback(EpochTeller(sampler, cast(TrainingExamples, self.train_dataset)))
        if patience is not None:
            self.add_callback(EarlyStoppingCallback(patience))

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """The objective; raises LossError if it is not a number."""
        features, scores = compute_features(model, inputs)
        head = find_head(cast(torch.nn.Module, self.model))
        total = self._objective.measure(features, scores, head, inputs)
        if not torch.isfinite(total):
            raise LossError(
                f"step {self.state.global_step}: the loss is {total.item()}; "
                f"examples {', '.join(inputs['ids'])}"
            )
        return (total, {"logits": scores}) if return_outputs else total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss, averaged since the last log and over the processes."""
        if "loss" in logs:
            parts = self._objective.read_parts()
            own = torch.tensor(list(parts.values()), dtype=torch.float64, device=self.args.device)
            logs |= zip(parts, self.accelerator.reduce(own, "mean").tolist(), strict=True)
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Macro recall on the validation examples."""
        assert self._validation is not None  # the arguments evaluate only if there is one
        # All must keep the same checkpoint and stop at the same step, to the last bit.
        metrics = share(self._validation.measure(cast(Any, self.model)))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self._sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Whole or not at all: older checkpoints go only after the new one is written."""
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch.save: RuntimeError
            folder = Path(str(self.args.output_dir))
            shutil.rmtree(folder / f"checkpoint-{self.state.global_step}", ignore_errors=True)
            raise refuse_writing(folder, error) from error
