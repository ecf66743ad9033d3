"""Presets and the combinations of loss, head and Trainer arguments that a recipe allows."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.tiny import make_recipe
from training.errors import BadInput
from training.recipe.method import HeadRecipe, LoraRecipe, LossRecipe
from training.recipe.presets import PRESETS, apply_preset
from training.recipe.recipe import RESERVED, TrainRecipe

BUNDLED = Path(__file__).parents[3] / "training/recipes/bundled.yaml"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_replaces_what_the_file_says(name: str) -> None:
    recipe = TrainRecipe.read(BUNDLED, ["optimisation.sampling=square-root", f"preset={name}"])
    assert recipe.loss == LossRecipe.model_validate(PRESETS[name]["loss"])
    assert recipe.head == HeadRecipe.model_validate(PRESETS[name]["head"])
    assert recipe.optimisation.sampling == "instance"
    taught = name == "recommended"
    assert (recipe.distillation is not None) == taught
    assert all(source.labelled for source in recipe.support) != taught
    assert recipe.optimisation.epochs == TrainRecipe.read(BUNDLED).optimisation.epochs


@pytest.mark.parametrize("support", ["none", [{"path": "x"}], ["x"]])
def test_a_wrong_support_under_a_preset_is_told_as_ever(tmp_path: Path, support: Any) -> None:
    raw = yaml.safe_load(BUNDLED.read_text(encoding="utf-8")) | {"support": support}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(BadInput, match=r"recipe\.yaml: support"):
        TrainRecipe.read(tmp_path / "recipe.yaml", ["preset=ce"])


def test_an_override_after_a_preset_changes_it() -> None:
    recipe = TrainRecipe.read(BUNDLED, ["preset=ncal", "loss.tc_weight=0.5"])
    assert (recipe.loss.name, recipe.loss.tc_weight) == ("cross-entropy", 0.5)


def test_the_papers_preset_has_the_papers_parameters() -> None:
    recipe = TrainRecipe.read(BUNDLED, ["preset=ncal-paper"])
    assert recipe.lora == LoraRecipe(
        rank=8, alpha=32, dropout=0.1, targets=["q_proj", "k_proj", "v_proj", "o_proj"]
    )
    assert (recipe.prompt.max_tokens, recipe.prompt.version) == (2048, "instruct-1")
    assert recipe.prompt.window == TrainRecipe.read(BUNDLED).prompt.window
    assert recipe.optimisation.learning_rate == 2e-4
    assert recipe.loss == LossRecipe(
        name="cross-entropy", tc_weight=0.1, tc_max_norm=1.0, tc_pairs="different"
    )


def test_muon_and_an_optimiser_of_the_trainer_exclude_one_another() -> None:
    with pytest.raises(BadInput, match="no effect under Muon"):
        TrainRecipe.read(BUNDLED, ["trainer={optim: adafactor}"])


def test_a_preset_in_a_file_yields_to_the_file(tmp_path: Path) -> None:
    raw = yaml.safe_load(BUNDLED.read_text(encoding="utf-8"))
    del raw["loss"]
    raw |= {"preset": "ncal", "optimisation": raw["optimisation"] | {"sampling": "square-root"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    recipe = TrainRecipe.read(tmp_path / "recipe.yaml")
    assert recipe.loss == LossRecipe.model_validate(PRESETS["ncal"]["loss"])
    assert recipe.optimisation.sampling == "square-root"
    recipe.write(tmp_path / "resolved.yaml")
    assert TrainRecipe.read(tmp_path / "resolved.yaml") == recipe


def test_the_recommended_preset_is_what_the_bundled_checkpoint_uses() -> None:
    raw = yaml.safe_load(BUNDLED.read_text(encoding="utf-8"))
    assert TrainRecipe.model_validate(apply_preset(raw, "recommended")) == TrainRecipe.read(BUNDLED)


@pytest.mark.parametrize("override", ["preset=nonsense", "preset="])
def test_an_unknown_preset_lists_those_there_are(override: str) -> None:
    with pytest.raises(BadInput, match="there are: ce, ncal, ncal-paper, logit-adjusted"):
        TrainRecipe.read(BUNDLED, [override])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head": {"trainable": False}}, "knows nothing of the labels"),
        ({"loss": {"name": "dot-regression"}}, "set head: {init: etf, trainable: false}"),
        ({"optimisation": {"early_stopping_patience": 2}}, "needs a validation_share"),
        ({"trainer": {"learning_rate": 1.0}}, "learning_rate: set by the recipe's own keys"),
        ({"loading": {"extra": "{trust_remote_code: true}"}}, "is never allowed"),
        ({"loading": {"dtype": "bfloat16"}, "lora": "null"}, "set lora too"),
        ({"trainer": {"fspd": "full_shard"}}, "TrainingArguments knows no fspd"),
        ({"report_to": ["paper"]}, "report_to"),
    ],
)
def test_combinations_without_sense_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    make_recipe(tmp_path).write(tmp_path / "recipe.yaml")
    overrides = [
        f"{section}.{key}={value}" if isinstance(values, dict) else f"{section}={values}"
        for section, values in changes.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", "")])
    ]
    with pytest.raises(BadInput, match=reason):
        TrainRecipe.read(tmp_path / "recipe.yaml", overrides)


def test_sources_of_one_task_share_an_imbalance_ratio(tmp_path: Path) -> None:
    sources = [
        {"path": "a.jsonl", "format": "tmwpl", "task": "timss", "imbalance_ratio": 0.25},
        {"path": "b.jsonl", "format": "pmtd", "task": "irf"},
    ]
    assert make_recipe(tmp_path, sources=sources).imbalance_ratios == {"timss": 0.25}
    with pytest.raises(ValueError, match="timss must have one imbalance_ratio"):
        make_recipe(tmp_path, sources=[*sources, sources[0] | {"imbalance_ratio": 0.5}])


def test_reserved_arguments_are_arguments_of_the_trainer() -> None:
    from transformers import TrainingArguments

    assert TrainingArguments.__dataclass_fields__.keys() >= RESERVED
