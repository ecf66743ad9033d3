"""What is proposed for a table's size and a machine."""

from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from contract.inputs import Problem
from tests.training.tiny import make_backbone
from training.data.records import Record
from training.errors import BadInput
from training.proposal.machine import Machine, look_at_machine
from training.proposal.recipe import BUNDLED, propose_recipe
from training.proposal.sources import Sources
from training.recipe.recipe import CardRecipe, LabelledFile, TrainRecipe

LAPTOP = Machine(gpu_gib=0.0, has_bfloat16=False)


def make_sources(folder: Path, examples: int) -> Sources:
    record = Record("a.csv:2", "2", Problem(text="a"), "b")
    return Sources(
        train=[LabelledFile(path=folder / "a.csv", format="table", task="talk")],
        dev=[],
        test=[],
        kind="problem",
        records=[record] * examples,
        class_names={},
        origin="a.csv",
        licence=None,
    )


def propose(tmp_path: Path, **changes: Any) -> TrainRecipe:
    fields: dict[str, Any] = {
        "name": "talk",
        "sources": make_sources(tmp_path, changes.pop("examples", 5000)),
        "label_set": tmp_path / "labels.yaml",
        "folder": tmp_path,
        "output": tmp_path / "checkpoint",
        "smallest": 100,
        "backbone": None,
        "machine": LAPTOP,
        "card": CardRecipe(licence="unknown", languages=[], command="", data=[]),
    }
    return propose_recipe(**fields | changes)


def test_a_laptop_trains_every_weight_of_the_bundled_model(tmp_path: Path) -> None:
    recipe = propose(tmp_path)
    assert recipe.backbone == str(BUNDLED) and (BUNDLED / "model.safetensors").exists()
    assert recipe.lora is None and not recipe.optimisation.bf16
    assert recipe.evaluation.folds == 3


@pytest.mark.parametrize(
    ("gib", "backbone"), [(80.0, "7B"), (48.0, "3B"), (24.0, "1.5B"), (8.0, "0.5B")]
)
def test_a_gpu_trains_adapters_on_what_fits_it(tmp_path: Path, gib: float, backbone: str) -> None:
    machine = Machine(gpu_gib=gib, has_bfloat16=True)
    recipe = propose(tmp_path, machine=machine)
    assert f"-{backbone}-" in recipe.backbone
    assert recipe.lora is not None and recipe.loading.dtype == "bfloat16"


def test_few_examples_are_seen_more_often_and_held_out_in_more_folds(tmp_path: Path) -> None:
    few, fewer = propose(tmp_path, examples=300), propose(tmp_path, examples=300, smallest=3)
    assert few.optimisation.epochs == 20 and propose(tmp_path).optimisation.epochs == 3
    assert (few.evaluation.folds, fewer.evaluation.folds) == (5, 3)


def test_a_backbone_of_ones_own_stays(tmp_path: Path) -> None:
    machine = Machine(gpu_gib=80.0, has_bfloat16=True)
    small = propose(tmp_path, machine=machine, backbone=str(make_backbone(tmp_path / "own")))
    assert small.backbone == str(tmp_path / "own") and small.lora is None
    assert small.prompt.version == "compact-1"


def test_a_large_backbone_of_ones_own_gets_adapters_and_an_instruction(tmp_path: Path) -> None:
    LlamaConfig(hidden_size=2048, num_hidden_layers=8).save_pretrained(tmp_path / "large")
    recipe = propose(tmp_path, backbone=str(tmp_path / "large"))
    assert recipe.lora is not None and recipe.prompt.version == "instruct-1"
    assert recipe.loading.dtype == "bfloat16"
    with pytest.raises(BadInput, match="its configuration cannot be read"):
        propose(tmp_path, backbone=str(tmp_path / "none"))


def test_the_machine_can_be_looked_at() -> None:
    machine = look_at_machine()
    assert machine.gpu_gib >= 0.0
