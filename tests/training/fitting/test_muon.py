"""Muon and AdamW as one optimiser: who moves what, and that both can be broken off."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon

from contract.labels import TIMSS
from tests.training.tiny import make_backbone, make_recipe
from training.fitting.muon import MuonWithAdamW
from training.fitting.single_run import build_model
from training.models.heads import freeze_head
from training.models.model import load_tokenizer

OPTIONS: dict[str, Any] = {"muon_learning_rate": 0.02, "learning_rate": 0.01, "weight_decay": 0.1}


class Net(nn.Module):
    """An embedding, a hidden layer with bias, a norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.layer = nn.Linear(4, 4)
        self.norm = nn.RMSNorm(4)
        self.score = nn.Linear(4, 3, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.score(self.norm(self.layer(self.embedding(ids)).tanh()))
        return scores


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def take_steps(net: Net, optimizers: list[Any], steps: int) -> None:
    for step in range(steps):
        ids = (torch.arange(4) + step) % 5
        nn.functional.cross_entropy(net(ids), ids % 3).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_each_part_moves_its_own_as_torch_would(net: Net) -> None:
    other = copy.deepcopy(net)
    take_steps(net, [MuonWithAdamW(net, **OPTIONS)], 3)
    muon = Muon([other.layer.weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW(
        [
            {"params": [other.embedding.weight, other.score.weight]},
            {"params": [other.layer.bias, other.norm.weight], "weight_decay": 0.0},
        ],
        lr=0.01, betas=(0.9, 0.98), weight_decay=0.1, fused=True,
    )  # fmt: skip
    take_steps(other, [muon, adamw], 3)
    for (name, weight), expected in zip(net.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, expected), name


def test_a_schedule_reaches_both(net: Net) -> None:
    before = copy.deepcopy(net.state_dict())
    optimizer = MuonWithAdamW(net, **OPTIONS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    take_steps(net, [optimizer], 2)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0, 0.0]
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


def test_frozen_weights_are_left_out(net: Net) -> None:
    net.embedding.requires_grad_(False)
    optimizer = MuonWithAdamW(net, **OPTIONS)
    kept = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(kept) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_adapters_are_matrices_and_the_head_they_wrap_is_not(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    recipe = make_recipe(tmp_path)
    tokenizer = load_tokenizer(recipe.backbone)
    model = build_model(recipe, [TIMSS], tokenizer)
    muon, adamw = (
        part["param_groups"] for part in MuonWithAdamW(model, **OPTIONS).state_dict()["parts"]
    )
    assert [len(group["params"]) for group in muon] == [2 * 2 * 7]  # A and B of 7 layers, twice
    assert [len(group["params"]) for group in adamw] == [1]  # the head
    freeze_head(model)
    assert len(MuonWithAdamW(model, **OPTIONS).state_dict()["parts"]) == 1


def test_a_kept_state_goes_on_as_if_never_broken(net: Net) -> None:
    optimizer = MuonWithAdamW(net, **OPTIONS)
    take_steps(net, [optimizer], 2)
    later = copy.deepcopy(net)
    resumed = MuonWithAdamW(later, **OPTIONS)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in resumed.param_groups:
        group["lr"] *= 0.5  # what a schedule does: it must reach the parts after loading too
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    take_steps(net, [optimizer], 2)
    take_steps(later, [resumed], 2)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), later.parameters(), strict=True))
