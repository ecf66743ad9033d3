"""Several runs of one fit: the model has the mean of their weights."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import training.fit
from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training import killed_run
from tests.training.killed_run import BrokenOffError
from tests.training.tiny import make_backbone, make_data, make_recipe, make_taught
from training.data.batches import build_encoder
from training.data.examples import Example, read_examples
from training.data.support import read_support
from training.fit import fit
from training.fitting.single_run import fine_tune
from training.fitting.teacher import Answers
from training.fitting.trainer import CollapseTrainer
from training.fitting.validation import Validation
from training.models.model import load_tokenizer
from training.models.prediction import predict_scores
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow


class Run(NamedTuple):
    """What went into one run and came out of it."""

    seed: int
    taught_by: tuple[Answers, ...]
    weights: dict[str, Tensor]
    answers: np.ndarray
    """Of its model on the texts without labels."""


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return make_backbone(tmp_path / "backbone")


def read(recipe: TrainRecipe) -> list[Example]:
    return read_examples(recipe.sources, BUILT_IN, folds=2)


def run(recipe: TrainRecipe, folder: Path) -> dict[str, Tensor]:
    tokenizer = load_tokenizer(recipe.backbone)
    return fit(recipe, read(recipe), [TIMSS, IRF], tokenizer, run_folder=folder).state_dict()


def watch_runs(patch: pytest.MonkeyPatch, recipe: TrainRecipe) -> list[Run]:
    runs: list[Run] = []
    tokenizer, texts = load_tokenizer(recipe.backbone), read_support(recipe).unlabelled
    prompts = build_encoder(tokenizer, recipe.prompt, [TIMSS]).encode(texts)

    def watch(*arguments: Any, seed: int) -> Any:
        model = fine_tune(*arguments, seed=seed)
        weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        answers = predict_scores(model, prompts, tokenizer.pad_token_id)
        runs.append(Run(seed, arguments[-1].models, weights, answers))
        return model

    patch.setattr(training.fit, "fine_tune", watch)
    return runs


def differ(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return any(not torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_the_model_is_the_mean_of_its_runs_and_each_teaches_the_next(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    taught = {"weights": {"timss": 0.5}, "parts": 2, "students": {"count": 1, "per_epoch": 4}}
    recipe = make_taught(tmp_path, distillation=taught, optimisation={"epochs": 1, "runs": 3})
    runs = watch_runs(monkeypatch, recipe)
    weights = run(recipe, tmp_path / "run")
    assert "run 3 of 3" in capsys.readouterr().out
    assert [each.seed for each in runs] == [0, 2, 3]  # the student has 1
    assert [len(each.taught_by) for each in runs] == [1, 2, 3]
    for place, earlier in enumerate(runs[:2], 1):
        assert runs[2].taught_by[place]["timss"] == pytest.approx(
            earlier.answers[:, :7].astype(float), abs=1e-5
        )
    assert differ(runs[0].weights, runs[1].weights)
    for name, weight in weights.items():
        mean = torch.stack([each.weights[name] for each in runs]).mean(dim=0)
        assert torch.allclose(weight, mean, atol=1e-6)


def test_runs_start_from_the_same_weights(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random heads or adapters of their own would leave nothing that could be averaged."""
    make_data(tmp_path)
    still = {"epochs": 1, "runs": 2, "learning_rate": 1e-12, "weight_decay": 0.0}
    recipe = make_recipe(tmp_path, optimisation=still)
    runs = watch_runs(monkeypatch, recipe)
    run(recipe, tmp_path / "run")
    assert not differ(runs[0].weights, runs[1].weights)
    assert runs[1].weights["score.weight"].abs().max() > 0.01


def test_runs_hold_back_the_same_examples(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(tmp_path)
    held_back: list[list[Example]] = []
    start = Validation.__init__

    def watch(self: Validation, recipe: Any, examples: Any, *rest: Any) -> None:
        held_back.append(list(examples))
        start(self, recipe, examples, *rest)

    monkeypatch.setattr(Validation, "__init__", watch)
    recipe = make_recipe(tmp_path, optimisation={"epochs": 1, "runs": 2, "validation_share": 0.3})
    run(recipe, tmp_path / "run")
    assert len(held_back) == 2 and held_back[0] and held_back[0] == held_back[1]


def test_a_fit_broken_off_in_its_second_run_goes_on(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_taught(tmp_path, optimisation={"epochs": 1, "runs": 2, "save_steps": 1})
    unbroken, folder = run(recipe, tmp_path / "unbroken"), tmp_path / "broken"
    steps = 0

    def stop(self: CollapseTrainer, *arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 9:
            raise BrokenOffError
        return killed_run.compute_loss(self, *arguments, **options)

    monkeypatch.setattr(CollapseTrainer, "compute_loss", stop)
    with pytest.raises(BrokenOffError):
        run(recipe, folder)
    assert list((folder / "run-2").glob("checkpoint-*"))
    resumed = run(recipe, folder)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert (
        steps == 9 + 4
    )  # of 6 steps each the first run's were not repeated, nor two of the second
    for finished in (folder, folder / "run-2"):
        left = {path.name for path in finished.iterdir()} - {"run-2"}
        assert left == {"collapse.jsonl", "runs"}
