"""The loss of a batch that may mix tasks: L = L_cls + λ·L_TC for each."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from contract.labels import LabelSet
from training.data.examples import UNLABELLED, Example, assign_rows
from training.data.sampling import batch_prior
from training.losses.losses import (
    classification_loss,
    collapse_loss,
    cosine_logits,
    dot_regression,
    gather_with_gradient,
)
from training.recipe.recipe import TrainRecipe


class Objective:
    """Judges each task on its own rows of the head and keeps the averages for the log."""

    def __init__(
        self, recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
    ) -> None:
        rows = assign_rows(label_sets)
        sampling = recipe.optimisation.sampling
        self._loss = recipe.loss
        self._tasks = [
            (rows[labels.task], torch.tensor(batch_prior(examples, labels, sampling)))
            for labels in label_sets
        ]
        self._forget()

    def measure(
        self, features: Tensor, scores: Tensor, head: Tensor, batch: Mapping[str, Any]
    ) -> Tensor:
        """Sum of the tasks' losses, each weighted by its share of the batch, a scalar.

        `features` (B, hidden), `scores` (B, all labels), `head` (all labels, hidden);
        `batch` holds `labels` (`UNLABELLED` where there is none) and `task_numbers`, both (B,),
        and `targets` (B, classes of the widest task there), the probabilities to answer with.
        """
        total = scores.new_zeros(())
        for number, (rows, prior) in enumerate(self._tasks):
            chosen = batch["task_numbers"] == number
            share = chosen.sum() / len(chosen)
            labels = batch["labels"][chosen]
            classification = self._classify(
                features[chosen],
                scores[chosen][:, rows],
                head[rows],
                labels,
                batch["targets"][chosen][:, : len(rows)],
                prior,
            )
            self._sums["loss_cls"] += classification.item() * share.item()
            loss = classification
            if self._loss.tc_weight:
                known = labels != UNLABELLED
                collapse = self._collapse(features[chosen][known], labels[known], len(rows))
                self._sums["loss_tc"] += collapse.item() * share.item()
                loss = classification + self._loss.tc_weight * collapse
            total = total + loss * share
        self._batches += 1
        return total

    def read_parts(self) -> dict[str, float]:
        """The parts of the loss, averaged since they were last read."""
        parts = {name: round(value / self._batches, 5) for name, value in self._sums.items()}
        self._forget()
        return parts

    def _classify(
        self,
        features: Tensor,
        logits: Tensor,
        head: Tensor,
        labels: Tensor,
        targets: Tensor,
        prior: Tensor,
    ) -> Tensor:
        loss = self._loss
        match loss.name:
            case "cosine":
                cosines = cosine_logits(features, head, loss.scale)
                return classification_loss("logit-adjusted", cosines, targets, prior, tau=loss.tau)
            case "dot-regression":
                return dot_regression(features, labels, head)
            case "focal":
                return classification_loss("focal", logits, labels, prior, gamma=loss.gamma)
            case name:
                return classification_loss(name, logits, targets, prior, tau=loss.tau)

    def _collapse(self, features: Tensor, labels: Tensor, classes: int) -> Tensor:
        collapse, pairs = collapse_loss(
            gather_with_gradient(features),
            gather_with_gradient(labels),
            classes,
            max_norm=self._loss.tc_max_norm,
            pairs=self._loss.tc_pairs,
        )
        self._sums["batches_without_pair"] += float(pairs == 0)
        return collapse

    def _forget(self) -> None:
        self._sums = {"loss_cls": 0.0, "loss_tc": 0.0, "batches_without_pair": 0.0}
        self._batches = 0
