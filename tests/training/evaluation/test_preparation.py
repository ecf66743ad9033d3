"""What is refused before any weights are read."""

import csv
from pathlib import Path

import pytest

from tests.contract.examples import BLOOM
from tests.training.tiny import make_recipe
from training.errors import BadInput
from training.evaluation.preparation import prepare
from training.proposal.label_set import write_label_set
from training.recipe.recipe import TrainRecipe


def make_own(workplace: Path, folder: Path, instruction: str) -> TrainRecipe:
    """A recipe for a label set of one's own, for chat models."""
    label_set = BLOOM.model_copy(update={"instruction": instruction})
    write_label_set(label_set, folder / "bloom.yaml")
    with (folder / "own.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([f"{label} {n}", label] for label in BLOOM.ids for n in range(4))
    return make_recipe(
        workplace,
        sources=[{"path": folder / "own.csv", "format": "csv", "task": "bloom"}],
        label_sets=[folder / "bloom.yaml"],
        prompt={"version": "instruct-1", "max_tokens": 200},
        work=folder / "work",
        output=folder / "out" / "checkpoint",
    )


def test_a_chat_model_is_not_told_of_mathematics_by_a_label_set_of_ones_own(
    workplace: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"'bloom': has no instruction.*write an `instruction`"):
        prepare(make_own(workplace, tmp_path, ""))
    label_sets, examples, _ = prepare(make_own(workplace, tmp_path, "Which level?"))
    assert label_sets[0].instruction == "Which level?" and len(examples) == 12


def test_prompts_without_room_for_text_are_refused(workplace: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"leaves .* tokens for text"):
        prepare(make_own(workplace, tmp_path, "长" * 300))
