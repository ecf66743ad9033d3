"""Muon for the matrices of the layers, AdamW for everything else, as one optimiser."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024) on the weights of linear layers, AdamW on all other weights.

    Muon orthogonalises the momentum of a matrix, so that every direction in it learns at the
    same pace. It is for hidden matrices alone: embeddings, heads, biases and norms keep
    AdamW. Steps are scaled to the size of AdamW's (Liu et al. 2025), so weight decay and the
    schedule serve both. torch's own implementations do the work; what is added here is that a
    Trainer, its schedule and its checkpoints see one optimiser.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        muon_learning_rate: float,
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        matrices, others, plain = _sort_parameters(model)
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(
                Muon(
                    matrices,
                    lr=muon_learning_rate,
                    weight_decay=weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        groups: list[dict[str, Any]] = [{"params": others}, {"params": plain, "weight_decay": 0.0}]
        if others or plain:  # not so with adapters alone under a frozen head
            self._parts.append(
                AdamW(
                    [group for group in groups if group["params"]],
                    lr=learning_rate,
                    betas=betas,
                    weight_decay=weight_decay,
                    fused=True,
                )
            )
        super().__init__(self._groups(), {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; the closure, if there is one, is called once."""
        loss = closure() if closure else None
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` returned."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()

    def _groups(self) -> list[dict[str, Any]]:
        """The very groups of the parts: a schedule that sets a rate here sets it there."""
        return [group for part in self._parts for group in part.param_groups]


def _sort_parameters(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Matrices of hidden linear layers, other matrices, and biases and norms."""
    heads = {"lm_head", "score"}  # their rows are classes, not directions
    hidden = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and heads.isdisjoint(name.split("."))  # PEFT wraps it
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if id(parameter) in hidden]
    others = [p for p in trained if id(p) not in hidden and p.ndim >= 2]
    return matrices, others, [p for p in trained if p.ndim < 2]
