"""Neural collapse through training: NC1 to NC4 at the start and after every epoch."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from contract.labels import LabelSet
from training.data.batches import build_encoder
from training.data.examples import Example, assign_rows
from training.losses.collapse_metrics import measure_collapse
from training.models.heads import read_head
from training.models.prediction import predict_features
from training.recipe.recipe import TrainRecipe

FILE_NAME = "collapse.jsonl"
PER_CLASS = 20
"""Training examples of each class that are measured: enough for its mean and spread."""


class CollapseHistory(TrainerCallback):
    """Measures a fixed sample of the training examples, unchanged by augmentation.

    Each line of `collapse.jsonl` in the run folder is {step, epoch, task} and what
    `training.losses.collapse_metrics.measure_collapse` returns; the Trainer's log gets the same as
    `collapse/TASK/nc1` and so on. Draws no random number of the run.
    """

    def __init__(
        self,
        trainer: Trainer,
        recipe: TrainRecipe,
        examples: Sequence[Example],
        label_sets: Sequence[LabelSet],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self._trainer = trainer
        self._file = Path(str(trainer.args.output_dir)) / FILE_NAME
        chosen = choose_sample(examples, recipe.optimisation.seed)
        self._prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(chosen)
        self._tasks = np.array([example.task for example in chosen])
        self._labels = np.array([example.label for example in chosen])
        self._rows = assign_rows(label_sets)
        self._pad = tokenizer.pad_token_id

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure the start; in a resumed run drop what was measured after the checkpoint."""
        if state.is_world_process_zero:
            self._drop_after(state.global_step)
        if not state.global_step:
            self._measure(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure after each epoch."""
        self._measure(state, control)

    def _drop_after(self, step: int) -> None:
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        kept = [line + "\n" for line in lines if step and json.loads(line)["step"] <= step]
        self._file.write_text("".join(kept), encoding="utf-8")

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        model: Any = self._trainer.model
        features = predict_features(model, self._prompts, self._pad)
        head = read_head(model).numpy()
        for task, rows in self._rows.items():
            own = self._tasks == task
            measured = measure_collapse(features[own], self._labels[own], head[rows])
            line = {"step": state.global_step, "epoch": state.epoch or 0.0, "task": task}
            if state.is_world_process_zero:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line | measured) + "\n")
            wanted = control.should_log  # logging here must not cost the log of the loss
            self._trainer.log({f"collapse/{task}/{name}": v for name, v in measured.items()})
            control.should_log = wanted


def choose_sample(examples: Sequence[Example], seed: int) -> list[Example]:
    """At most PER_CLASS examples of each class, the same ones for the same seed."""
    strata: dict[tuple[str, int], list[Example]] = {}
    for example in examples:
        strata.setdefault((example.task, example.label), []).append(example)
    return [
        example
        for stratum, own in strata.items()
        for example in random.Random(f"{seed}/{stratum}").sample(own, min(PER_CLASS, len(own)))
    ]
