"""Running a model over prompts, shortest first, without training it."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel
from transformers.utils.logging import tqdm

from contract.prompts import Prompt
from training.data.batches import pad_prompts
from training.models.model import compute_features

Batch = dict[str, Tensor]
AnyModel = PreTrainedModel | PeftModel


def predict_scores(
    model: AnyModel,
    prompts: Sequence[Prompt],
    pad_token_id: int,
    *,
    batch_size: int = 64,
    title: str = "",
) -> NDArray[np.float32]:
    """Return all scores (items, rows of the head) in float32, in the order of the prompts.

    A progress bar with a `title` is shown if there is one.
    """
    width = cast(int, model.config.num_labels)

    def score(batch: Batch) -> Tensor:
        return cast(Tensor, model(**batch).logits)

    return _run(model, prompts, pad_token_id, batch_size, width, score, title)


def predict_features(
    model: AnyModel, prompts: Sequence[Prompt], pad_token_id: int, *, batch_size: int = 64
) -> NDArray[np.float32]:
    """Return the inputs of the head (items, hidden) in float32, in the order of the prompts."""
    width = cast(int, model.config.hidden_size)

    def read(batch: Batch) -> Tensor:
        return compute_features(model, batch)[0]

    return _run(model, prompts, pad_token_id, batch_size, width, read, title="")


def _run(
    model: AnyModel,
    prompts: Sequence[Prompt],
    pad_token_id: int,
    batch_size: int,
    width: int,
    forward: Callable[[Batch], Tensor],
    title: str,
) -> NDArray[np.float32]:
    """One row of `width` values per prompt; the model is in evaluation mode meanwhile."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids))
    values = np.empty((len(prompts), width), dtype=np.float32)
    was_training = model.training
    model.eval()
    with torch.no_grad():  # FSDP goes on to write into what it gathered: no inference tensors
        for start in tqdm(range(0, len(order), batch_size), desc=title, disable=not title):
            chosen = order[start : start + batch_size]
            batch = pad_prompts([prompts[i].token_ids for i in chosen], pad_token_id)
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            values[chosen] = forward(batch).float().cpu().numpy()
    for part in model.modules():
        if isinstance(part, FSDPModule):  # it waits for a backward pass that does not come
            part.reshard()
    model.train(was_training)
    return values
