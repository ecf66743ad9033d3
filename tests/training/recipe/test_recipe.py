"""Every recipe in the repository is a recipe."""

from pathlib import Path

import pytest

from training.pretraining.pretrain import PretrainRecipe
from training.recipe.recipe import TrainRecipe

RECIPES = sorted(Path(__file__).parents[3].glob("training/recipes/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_committed_recipe_is_valid(path: Path, tmp_path: Path) -> None:
    kind = PretrainRecipe if path.stem.startswith("pretrain") else TrainRecipe
    recipe = kind.read(path)
    recipe.write(tmp_path / "resolved.yaml")
    assert kind.read(tmp_path / "resolved.yaml") == recipe


def test_recipes_of_one_place_do_not_overwrite_each_other() -> None:
    read = {p.stem: TrainRecipe.read(p) for p in RECIPES if not p.stem.startswith("pretrain")}
    recipes = list(read.values())
    assert len({recipe.output for recipe in recipes}) == len(recipes)
    assert len({recipe.work for recipe in recipes}) == len(recipes)
    borrowing = {"ablation"}  # it starts from the backbone of `bundled`
    own = [recipe for stem, recipe in read.items() if stem not in borrowing]
    assert len({recipe.backbone for recipe in own}) == len(own)
