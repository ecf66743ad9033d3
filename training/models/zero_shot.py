"""What a backbone says of the labels before any training."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from contract.prompts import Prompt
from training.models.heads import start_head
from training.models.model import load_classifier
from training.models.prediction import predict_scores
from training.recipe.method import HeadRecipe, LoadingRecipe


def score_zero_shot(
    backbone: str,
    tokenizer: PreTrainedTokenizerBase,
    label_sets: Sequence[LabelSet],
    prompts: Sequence[Prompt],
    loading: LoadingRecipe | None = None,
) -> NDArray[np.float32]:
    """Return scores (items, rows of the head) of an untrained head of label words.

    They are how much likelier the language model finds the words of one label than those of
    the task's others as the next token; their size means nothing before a temperature is
    fitted. Rows are ordered as `training.models.model.assign_rows` says.
    """
    model = load_classifier(backbone, tokenizer, label_sets, loading)
    start_head(model, HeadRecipe(init="label-words"), backbone, tokenizer, label_sets, seed=0)
    if loading is None or not loading.four_bit:  # else it lies where it computes
        torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")
    return predict_scores(model, prompts, tokenizer.pad_token_id)
