"""Next-token prediction on packed text: how a backbone is made, and how it goes on learning."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, Trainer


class CausalTrainer(Trainer):
    """Next-token cross-entropy with layers and loss compiled, each by itself.

    Compiled with the loss, the logits (tokens, vocabulary) are never written out in float32;
    compiling the model as a whole is a fifth slower on a CPU.
    """

    def __init__(
        self, model: PreTrainedModel, *, bf16: bool, compile: bool, **options: Any
    ) -> None:
        super().__init__(model, **options)
        self._bf16 = bf16
        self._loss = torch.compile(_predict_next) if compile else _predict_next
        if compile:
            for layer in model.model.layers:
                layer.compile()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """Mean over the batch, a scalar."""
        ids = inputs["input_ids"]
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self._bf16):
            hidden = model.model(input_ids=ids).last_hidden_state
            return self._loss(hidden, model.lm_head.weight, ids)


class Blocks(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Documents one after another, cut into blocks of equal length; the rest is left out."""

    def __init__(self, documents: Iterable[Sequence[int]], block_tokens: int) -> None:
        ids = [token for document in documents for token in document]
        count = len(ids) // block_tokens
        self._blocks = torch.tensor(ids[: count * block_tokens]).view(count, block_tokens)

    @property
    def tokens(self) -> int:
        return self._blocks.numel()

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._blocks[index]}


def _predict_next(hidden: Tensor, head: Tensor, ids: Tensor) -> Tensor:
    """Cross-entropy of `ids` (B, T) from the hidden states (B, T, hidden) of the token before."""
    logits = hidden[:, :-1] @ head.T
    return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
