"""From examples to padded token batches."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from contract.prompts import Frame, Prompt, PromptEncoder
from training.data.examples import Example, augment
from training.errors import BadInput
from training.recipe.recipe import AugmentationRecipe, PromptRecipe

_LENGTH_STEP = 8  # lengths are rounded up to it: fewer shapes for the compiler


class ExampleEncoder:
    """The contract's prompt encoder of each task: they differ in what they tell the model."""

    def __init__(self, encoders: Mapping[str, PromptEncoder]) -> None:
        self._encoders = encoders
        self.frame: Frame = next(iter(encoders.values())).frame

    def encode(self, examples: Sequence[Example]) -> list[Prompt]:
        """Return a prompt for each example, in order."""
        places: dict[str, list[int]] = {}
        for place, example in enumerate(examples):
            places.setdefault(example.task, []).append(place)
        prompts: dict[int, Prompt] = {}
        for task, own in places.items():
            encoded = self._encoders[task].encode([examples[place].item for place in own])
            prompts |= zip(own, encoded, strict=True)
        return [prompts[place] for place in range(len(examples))]


def build_encoder(
    tokenizer: PreTrainedTokenizerBase, recipe: PromptRecipe, label_sets: Sequence[LabelSet]
) -> ExampleEncoder:
    """The encoder of a recipe for the tasks of the label sets.

    Raises BadInput when template and instruction leave no room for text, or the template loses
    the message.
    """
    encoders: dict[str, PromptEncoder] = {}
    for label_set in label_sets:
        try:
            encoders[label_set.task] = PromptEncoder(
                tokenizer,
                version=recipe.version,
                max_tokens=recipe.max_tokens,
                window=recipe.window,
                instruction=label_set.instruction,
            )
        except ValueError as error:
            raise BadInput(
                f"prompt of task {label_set.task!r}: {error}; raise prompt.max_tokens, shorten "
                "the instruction, or take another backbone"
            ) from error
    return ExampleEncoder(encoders)


class TrainingExamples(Dataset[dict[str, Any]]):
    """Examples as token ids, changed at random anew in every epoch.

    The changes depend on seed, epoch and index alone, so a resumed run sees what an
    unbroken one would have seen. Index i + k·len(self) is example i, changed differently
    for each k. `targets` are the class probabilities that an example is to be answered with.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encoder: ExampleEncoder,
        augmentation: AugmentationRecipe,
        seed: int,
        targets: Sequence[NDArray[np.float64]],
    ) -> None:
        self._examples = examples
        self._targets = targets
        self._encoder = encoder
        self._augmentation = augmentation
        self._seed = seed
        self._epoch = 0
        prompts = encoder.encode(examples)
        self.lengths = [len(prompt.token_ids) for prompt in prompts]

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's data loader at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index % len(self)]
        rng = random.Random(f"{self._seed}/{self._epoch}/{index}")
        item = augment(example.item, self._augmentation, rng)
        token_ids = self._encoder.encode([example._replace(item=item)])[0].token_ids
        # Never of the template: its control tokens say where the message begins and ends.
        first, last = len(self._encoder.frame.before), -len(self._encoder.frame.after)
        share = self._augmentation.drop_tokens
        inner = [token for token in token_ids[first:last] if rng.random() >= share]
        return {
            "token_ids": [*token_ids[:first], *inner, *token_ids[last:]],
            "label": example.label,
            "target": self._targets[index % len(self)],
            "task": example.task,
            "id": example.id,
        }


class Collator:
    """Pads token ids on the right and numbers the tasks."""

    def __init__(self, pad_token_id: int, tasks: Sequence[str]) -> None:
        self._pad = pad_token_id
        self._task_numbers = {task: number for number, task in enumerate(tasks)}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = pad_prompts([row["token_ids"] for row in rows], self._pad)
        targets = np.zeros((len(rows), max(len(row["target"]) for row in rows)), dtype=np.float32)
        for place, row in enumerate(rows):
            targets[place, : len(row["target"])] = row["target"]
        batch["targets"] = torch.from_numpy(targets)
        batch["labels"] = torch.tensor([row["label"] for row in rows])
        batch["task_numbers"] = torch.tensor([self._task_numbers[row["task"]] for row in rows])
        batch["ids"] = [row["id"] for row in rows]
        return batch


def pad_prompts(prompts: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask`, both (B, T), padded on the right."""
    longest = max(map(len, prompts))
    width = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    input_ids = torch.full((len(prompts), width), pad_token_id)
    attention_mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        input_ids[row, : len(prompt)] = torch.tensor(prompt)
        attention_mask[row, : len(prompt)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
