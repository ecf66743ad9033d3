"""Which examples an epoch draws, and in which order; a resumed run sees the same."""

import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from training.data.batches import TrainingExamples
from training.data.examples import UNLABELLED, Example
from training.data.sampling import draw_counts, unlabelled_name

Stratum = tuple[str, int]
"""Task and label."""


class EpochSampler(Sampler[int]):
    """Draws as many places as there are examples, similar lengths next to each other.

    Of a task named in `per_epoch` only that many. Under `instance` every example of the
    other tasks comes once an epoch. Otherwise each class gets the share
    of its task that the sampling gives it, whole rounds over its examples before any comes
    again, also from one epoch to the next. The k-th repetition of example i is drawn as
    i + k·len(examples), so that `TrainingExamples` changes it anew.

    What an epoch draws depends on seed and `epoch` alone. There is no `set_epoch`:
    accelerate, finding one here, would no longer tell the data set.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        lengths: Sequence[int],
        sampling: str,
        *,
        batch_size: int,
        seed: int,
        per_epoch: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.epoch = 0
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._places: dict[Stratum, list[int]] = {}
        for place, example in enumerate(examples):
            task = unlabelled_name(example.task) if example.label == UNLABELLED else example.task
            self._places.setdefault((task, example.label), []).append(place)
        sizes = {stratum: len(places) for stratum, places in self._places.items()}
        self._counts = draw_counts(sizes, sampling, per_epoch)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        for _ in range(self.epoch):  # what the epochs before took from the generator
            torch.randperm(len(self), generator=generator)
        drawn = self._draw()
        lengths = [self._lengths[place % len(self._lengths)] for place in drawn]
        grouped = get_length_grouped_indices(lengths, self._batch_size, generator=generator)
        return iter([drawn[index] for index in grouped])

    def _draw(self) -> list[int]:
        drawn = []
        for stratum, places in self._places.items():
            count = self._counts[stratum]
            if count == len(places):
                drawn += places
                continue
            first, after = self.epoch * count, (self.epoch + 1) * count
            oldest = first // len(places)
            for round_ in range(oldest, -(-after // len(places))):
                start = round_ * len(places)
                shuffled = self._shuffle(stratum, round_)[max(first - start, 0) : after - start]
                drawn += [place + (round_ - oldest) * len(self._lengths) for place in shuffled]
        return sorted(drawn)

    def _shuffle(self, stratum: Stratum, round_: int) -> list[int]:
        places = list(self._places[stratum])
        random.Random(f"{self._seed}/{stratum}/{round_}").shuffle(places)
        return places


class EpochTeller(TrainerCallback):
    """Tells sampler and data set the epoch, in a resumed run that of the unbroken one."""

    def __init__(self, sampler: EpochSampler, dataset: TrainingExamples) -> None:
        self._sampler = sampler
        self._dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count in whole steps: the epoch of the state is a fraction."""
        epoch = state.global_step // (state.max_steps // int(args.num_train_epochs))
        self._sampler.epoch = epoch
        self._dataset.set_epoch(epoch)
