"""Where the linear head starts, and how a head trained on cosines becomes a linear one."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from peft.utils import ModulesToSaveWrapper
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import Label, LabelSet
from training.data.examples import assign_rows
from training.errors import BadInput
from training.losses.losses import simplex_etf
from training.models.prediction import AnyModel
from training.recipe.method import HeadRecipe


def find_head(model: torch.nn.Module) -> torch.nn.Parameter:
    """The weight of `score` that is in use, (all labels, hidden), plain or inside PEFT."""
    score = next(each for name, each in model.named_modules() if name.split(".")[-1] == "score")
    if isinstance(score, ModulesToSaveWrapper):
        score = score.modules_to_save[score.active_adapters[0]]
    return cast(torch.nn.Parameter, score.weight)


def read_head(model: torch.nn.Module) -> Tensor:
    """A copy of the head in use, (all labels, hidden), float32 on the CPU.

    Put together where FSDP has given each process a part: then all must ask.
    """
    weight = find_head(model).detach()
    whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return whole.to("cpu", torch.float32, copy=True)


def start_head(
    model: PreTrainedModel,
    recipe: HeadRecipe,
    backbone: str,
    tokenizer: PreTrainedTokenizerBase,
    label_sets: Sequence[LabelSet],
    seed: int,
) -> None:
    """Set the rows of a fresh classifier as the recipe says; `random` leaves them alone.

    Raises BadInput when the hidden size has no room for a simplex, or when the labels of a
    task have no words of their own.
    """
    if recipe.init == "random":
        return
    head = find_head(model)
    rows = assign_rows(label_sets)
    words = read_label_words(backbone, tokenizer, label_sets) if recipe.init != "etf" else None
    for number, label_set in enumerate(label_sets):
        chosen = rows[label_set.task]
        if words is None:
            start = _draw_etf(label_set, head.shape[1], seed + number)
        else:
            length = cast(float, model.config.initializer_range) * head.shape[1] ** 0.5
            start = _centre(words[chosen], label_set, length)
        with torch.no_grad():
            head[chosen] = start.to(head)


def freeze_head(model: AnyModel) -> None:
    """Keep the head as it is through training."""
    find_head(model).requires_grad_(False)


def read_label_words(
    backbone: str, tokenizer: PreTrainedTokenizerBase, label_sets: Sequence[LabelSet]
) -> Tensor:
    """Language-model output rows of the words of each label, (all labels, hidden), float32.

    A label's row is the mean over its names, each the mean of the rows of its tokens; tied
    or not, the rows are those that the language model scores these tokens with.
    """
    try:
        language_model = AutoModelForCausalLM.from_pretrained(backbone, dtype="auto")
    except (OSError, ValueError) as error:
        raise BadInput(f"{backbone}: has no language-model head to read: {error}") from error
    output = language_model.get_output_embeddings().weight.detach()
    return torch.stack(
        [
            _average_words(output, tokenizer, label)
            for label_set in label_sets
            for label in label_set.labels
        ]
    )


def fold_cosines(
    model: PreTrainedModel, features: NDArray[np.float32], scale: float
) -> PreTrainedModel:
    """Turn a head trained on scale · cos(h, w) into one whose linear scores stand for it.

    Each row becomes scale · w/‖w‖ divided by the mean of ‖h‖ over `features` (items,
    hidden). The ranking of the labels is exactly that of the cosines. Their size is
    approximate: it still grows with an item's own ‖h‖, which the cosine divides out; after
    the final norm that length varies little, and the temperature is fitted on these very
    scores.
    """
    head = find_head(model)
    mean_norm = float(np.linalg.norm(features, axis=1).mean())
    with torch.no_grad():
        head.copy_(F.normalize(head, dim=1) * (scale / mean_norm))
    return model


def _average_words(output: Tensor, tokenizer: PreTrainedTokenizerBase, label: Label) -> Tensor:
    names = dict.fromkeys((label.name_zh, label.name_en))
    token_ids = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]
    return torch.stack([output[ids].float().mean(dim=0) for ids in token_ids if ids]).mean(dim=0)


def _centre(words: Tensor, label_set: LabelSet, length: float) -> Tensor:
    """Rows without what they share, on average as long as those of a random head.

    The softmax does not see the mean row. The factor is one for the whole task, so the
    ranking of the labels is that of the language model.
    """
    centred = words - words.mean(dim=0)
    distinct = torch.unique(words, dim=0)
    if len(distinct) < len(words):
        raise BadInput(
            f"label set {label_set.task!r}: labels with the same words start with the same row; "
            "give them names of their own, or use head.init random"
        )
    lengths: Tensor = torch.linalg.vector_norm(centred, dim=1)
    return centred * (length / lengths.mean())


def _draw_etf(label_set: LabelSet, hidden: int, seed: int) -> Tensor:
    try:
        return simplex_etf(len(label_set.labels), hidden, seed=seed)
    except ValueError as error:
        raise BadInput(f"label set {label_set.task!r}: {error}; use head.init random") from error


def drop_auxiliary(model: PreTrainedModel, label_sets: Sequence[LabelSet]) -> PreTrainedModel:
    """Cut `score` down to the rows of the given label sets, which come first."""
    names = [f"{labels.task}/{label_id}" for labels in label_sets for label_id in labels.ids]
    head = find_head(model).detach()
    if len(names) == len(head):
        return model
    score = torch.nn.Linear(
        head.shape[1], len(names), bias=False, device=head.device, dtype=head.dtype
    )
    with torch.no_grad():
        score.weight.copy_(head[: len(names)])
    model.score = score
    model.config.num_labels = cast(Any, model).num_labels = len(names)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    return model
