"""What a configuration tells before weights are loaded; nothing here loads any."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, LlamaConfig, ViTConfig

from tests.training.tiny import make_backbone, make_recipe
from training.errors import BadInput
from training.models import backbone_check
from training.models.backbone_check import check_backbone, estimate_memory
from training.recipe.recipe import TrainRecipe

LORA = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    make_backbone(folder / "backbone")
    return folder


def make_large(folder: Path) -> str:
    """The configuration of a decoder of 7 billion parameters, and no weights."""
    LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    ).save_pretrained(folder)
    return str(folder)


def test_a_backbone_that_fits_passes(workplace: Path) -> None:
    check_backbone(make_recipe(workplace))
    check_backbone(make_recipe(workplace, lora=LORA | {"targets": ["q_proj", "v_proj"]}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": {"version": "compact-1", "max_tokens": 300}}, "reads at most 256 tokens"),
        ({"lora": LORA | {"targets": ["q_proj", "query"]}}, "no layer 'query'; there are: down_"),
        ({"lora": LORA | {"targets": ["q_proj"], "extra": {"rnk": 1}}}, "unexpected keyword .*rnk"),
    ],
)
def test_what_would_fail_later_is_told_now(
    workplace: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        check_backbone(make_recipe(workplace, **changes))


def test_a_model_without_a_classifier_is_named(workplace: Path, tmp_path: Path) -> None:
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="no classifier for the model type 'vit'"):
        check_backbone(make_recipe(workplace, backbone=str(tmp_path)))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="configuration cannot be read"):
        check_backbone(make_recipe(workplace, backbone=str(tmp_path)))
    BertConfig(max_position_embeddings=512).save_pretrained(tmp_path)
    check_backbone(make_recipe(workplace, backbone=str(tmp_path)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU would train it")
def test_billions_of_parameters_need_a_gpu(workplace: Path, tmp_path: Path) -> None:
    recipe = make_recipe(workplace, backbone=make_large(tmp_path), lora=LORA)
    with pytest.raises(BadInput, match=r"6\.\d billion parameters .* ACCELERATOR=gpu"):
        check_backbone(recipe)


def test_a_model_that_does_not_fit_is_told_before_it_is_loaded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone_check, "_find_memory", lambda: 1e5)
    with pytest.raises(BadInput, match=r"at least 0\.0 GiB, and there are 0\.0"):
        check_backbone(make_recipe(workplace))


def test_the_estimate_counts_weights_gradients_and_moments(workplace: Path) -> None:
    def estimate(**changes: Any) -> float:
        recipe: TrainRecipe = make_recipe(workplace, **changes)
        return estimate_memory(recipe, 10)

    assert estimate(lora=None) == 160
    assert estimate(lora=LORA) == 40
    assert estimate(lora=LORA, loading={"dtype": "bfloat16"}) == 20
