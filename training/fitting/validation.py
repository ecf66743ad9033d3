"""Macro recall on examples held back from training: which checkpoint is the best."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.data.batches import build_encoder
from training.data.examples import Example, assign_rows, strip_following
from training.data.sampling import prior_shift
from training.losses.losses import cosine_logits
from training.models.heads import read_head
from training.models.prediction import AnyModel, predict_features, predict_scores
from training.recipe.recipe import TrainRecipe
from training.statistics.probabilities import Floats

METRIC = "eval_macro_recall"


class Validation:
    """Held-back examples, dialogue turns in both modes, and the scores they are judged by."""

    def __init__(
        self,
        recipe: TrainRecipe,
        held_back: Sequence[Example],
        training: Sequence[Example],
        label_sets: Sequence[LabelSet],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        views = list(held_back)
        views += [
            example._replace(item=strip_following(example.item))
            for example in held_back
            if strip_following(example.item) != example.item
        ]
        self._prompts = build_encoder(tokenizer, recipe.prompt, label_sets).encode(views)
        self._tasks = np.array([example.task for example in views])
        self._labels = np.array([example.label for example in views])
        self._pad = tokenizer.pad_token_id
        self._loss = recipe.loss
        self._shift = prior_shift(recipe, training, label_sets)
        self._rows = assign_rows(label_sets)

    def measure(self, model: AnyModel) -> dict[str, float]:
        """`eval_macro_recall`, the mean over the tasks, and that of each task.

        Judged as the trained model will be: under a uniform prior.
        """
        scores = self._score(model)[:, : len(self._shift)] - self._shift  # auxiliary heads are last
        recalls = {}
        for task, rows in self._rows.items():
            own = self._tasks == task
            answers, labels = scores[own][:, rows].argmax(axis=1), self._labels[own]
            recalls[f"{METRIC}_{task}"] = float(
                np.mean([np.mean(answers[labels == label] == label) for label in set(labels)])
            )
        return {METRIC: float(np.mean(list(recalls.values()))), **recalls}

    def _score(self, model: AnyModel) -> Floats:
        if not self._loss.sees_cosines:
            return predict_scores(model, self._prompts, self._pad).astype(np.float64)
        features = torch.from_numpy(predict_features(model, self._prompts, self._pad))
        return cosine_logits(features, read_head(model), self._loss.scale).double().numpy()
