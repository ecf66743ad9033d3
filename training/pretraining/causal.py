"""Next-token prediction on packed text: the Trainer that makes a backbone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainingArguments

from training.errors import BadInput
from training.fitting.muon import MuonWithAdamW

_SAVE_STEPS = 200
"""Of the bundled backbone some six minutes; a checkpoint has 100 MB."""


class CausalTrainer(Trainer):
    """Next-token cross-entropy with layers and loss compiled, each by itself.

    Compiled with the loss, the logits (tokens, vocabulary) are never written out in float32;
    compiling the model as a whole is a fifth slower on a CPU.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        blocks: "Blocks",
        *,
        muon_learning_rate: float,
        learning_rate: float,
        weight_decay: float,
        bf16: bool,
        compile: bool,
    ) -> None:
        optimizer = MuonWithAdamW(
            model,
            muon_learning_rate=muon_learning_rate,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
        )
        super().__init__(model, args=arguments, train_dataset=blocks, optimizers=(optimizer, None))
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


def build_arguments(
    output: Path, *, batch_size: int, warmup_steps: int, seed: int
) -> TrainingArguments:
    """Arguments for one pass over the blocks; BadInput if more than one GPU is visible."""
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=warmup_steps,
        max_grad_norm=1.0,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        logging_steps=25,
        save_steps=_SAVE_STEPS,
        save_total_limit=1,
        report_to="none",
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )
    if arguments.n_gpu > 1:  # the Trainer would wrap the model and take batches of another size
        raise BadInput(
            f"{arguments.n_gpu} GPUs are visible: pretraining uses one; set CUDA_VISIBLE_DEVICES=0"
        )
    return arguments


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
