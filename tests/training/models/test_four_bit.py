"""Backbones in 4 bits under adapters: how they are held, what is missing, what comes out."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training.tiny import make_recipe
from training.data.examples import read_examples
from training.errors import BadInput
from training.fit import fit
from training.fitting.single_run import build_model, restore_adapters
from training.models import backbone_check
from training.models.backbone_check import check_backbone, estimate_memory
from training.models.model import load_tokenizer, make_quantisation, merge_lora
from training.recipe.method import LoadingRecipe
from training.recipe.recipe import TrainRecipe

FOUR_BIT: dict[str, Any] = {"four_bit": True}
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def test_weights_are_held_as_qlora_does_and_the_head_is_whole() -> None:
    assert make_quantisation(LoadingRecipe()) is None
    config = make_quantisation(LoadingRecipe(four_bit=True))
    assert config is not None and config.load_in_4bit
    assert config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert config.llm_int8_skip_modules == ["score"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lora": None}, "four_bit are for a frozen backbone: set lora too"),
        ({"trainer": {"fsdp": True}}, "four_bit: 4-bit weights cannot be put together"),
        ({"loading": {"extra": {"quantization_config": {}}}}, "has a key of its own"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        make_recipe(tmp_path, **{"loading": FOUR_BIT} | changes)


def test_a_missing_library_is_one_line(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_check.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="bitsandbytes is not installed; pip install bitsandbytes"):
        check_backbone(make_recipe(workplace, loading=FOUR_BIT))


def test_linear_layers_count_an_eighth_of_float32(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, loading=FOUR_BIT | {"dtype": "bfloat16"})
    assert estimate_memory(recipe, 1000, 900) == pytest.approx(100 * 2 + 900 * 0.52)


def test_adapters_come_back_on_the_weights_of_before(workplace: Path) -> None:
    """As after a run in 4 bits: only adapters and head are taken over."""
    recipe = make_recipe(workplace)
    tokenizer = load_tokenizer(recipe.backbone)
    trained: Any = build_model(recipe, [TIMSS, IRF], tokenizer)
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.05)
    weights = get_peft_model_state_dict(trained)
    restored = merge_lora(restore_adapters(recipe, [TIMSS, IRF], tokenizer, weights)).state_dict()
    expected = merge_lora(trained).state_dict()
    assert restored.keys() == expected.keys()
    assert all(torch.equal(restored[name], expected[name]) for name in expected)


@needs_library
def test_a_run_in_four_bits_gives_a_whole_model(workplace: Path, tmp_path: Path) -> None:
    config = LlamaConfig.from_pretrained(workplace / "backbone")
    config.intermediate_size = 128  # the library's CPU kernel wants whole blocks of 64
    LlamaForCausalLM(config).save_pretrained(tmp_path / "backbone")
    load_tokenizer(str(workplace / "backbone")).save_pretrained(tmp_path / "backbone")
    recipe: TrainRecipe = make_recipe(
        workplace,
        backbone=str(tmp_path / "backbone"),
        loading=FOUR_BIT,
        optimisation={"epochs": 1, "bf16": True},
    )
    check_backbone(recipe)
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    tokenizer = load_tokenizer(recipe.backbone)
    model: Any = fit(recipe, examples, [TIMSS, IRF], tokenizer, run_folder=tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.num_labels == 15
    assert not hasattr(model.config, "quantization_config")
