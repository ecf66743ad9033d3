"""A run that was broken off goes on to the same weights; a full disk costs no checkpoint."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training import killed_run
from tests.training.killed_run import BrokenOffError
from tests.training.tiny import make_recipe
from tests.unmeasured import make_unmeasured_environment
from training.data.examples import read_examples
from training.errors import BadInput
from training.fit import fit
from training.fitting.collapse_history import FILE_NAME
from training.fitting.resume import RUN_FILE, open_run
from training.fitting.trainer import CollapseTrainer
from training.models.model import load_tokenizer
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow

Weights = dict[str, torch.Tensor]
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 8, "accumulation": 2, "save_steps": 4}
CHANGES = {"drop_following": 0.4, "perturb_numbers": 0.5, "drop_tokens": 0.1}


def make(workplace: Path, **changes: Any) -> TrainRecipe:
    """6 steps an epoch, a checkpoint every 4, every source of chance in use."""
    options = OPTIONS | changes.pop("optimisation", {})
    fields = {"lora": {"dropout": 0.2}, "augmentation": CHANGES} | changes
    return make_recipe(workplace, optimisation=options, **fields)


def run(recipe: TrainRecipe, folder: Path) -> Weights:
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    tokenizer = load_tokenizer(recipe.backbone)
    return fit(recipe, examples, [TIMSS, IRF], tokenizer, run_folder=folder).state_dict()


class Unbroken(NamedTuple):
    """What comes out of the recipe of `make` when nothing happens."""

    weights: Weights
    history: str


@pytest.fixture(scope="module")
def unbroken(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("unbroken")
    weights = run(make(workplace), folder)
    return Unbroken(weights, read_history(folder))


def are_equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def break_at(step: int, patch: pytest.MonkeyPatch) -> None:
    def stop(self: CollapseTrainer, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == step:
            raise BrokenOffError
        return killed_run.compute_loss(self, *arguments, **options)

    patch.setattr(CollapseTrainer, "compute_loss", stop)


def read_history(folder: Path) -> str:
    """NC1 to NC4 by step: also tells when training ended."""
    return (folder / FILE_NAME).read_text()


def list_checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def test_a_killed_run_goes_on_to_the_same_weights(
    workplace: Path, tmp_path: Path, unbroken: Unbroken
) -> None:
    recipe = make(workplace)
    recipe.write(tmp_path / "recipe.yaml")
    arguments = [str(tmp_path / "recipe.yaml"), str(tmp_path / "killed"), "11"]
    killed = subprocess.run(
        [sys.executable, killed_run.__file__, *arguments],
        env=make_unmeasured_environment()
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert list_checkpoints(tmp_path / "killed") == ["checkpoint-8"]  # in the second epoch
    resumed = run(recipe, tmp_path / "killed")
    assert are_equal(unbroken.weights, resumed)
    assert unbroken.history == read_history(tmp_path / "killed")
    assert not list_checkpoints(tmp_path / "killed")


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"optimisation": {"sampling": "class-balanced", "save_steps": None}}, [3, 8, 13]),
        ({"lora": None, "optimisation": {"sampling": "square-root"}}, [7, 15]),
        (
            {"loss": {"name": "dot-regression"}, "head": {"init": "etf", "trainable": False}},
            [5, 13],
        ),
        (
            {"optimisation": {"validation_share": 0.2, "early_stopping_patience": 2,
                              "save_steps": 2, "learning_rate": 3e-2}},
            [3, 5],
        ),
        (
            {"optimisation": {"muon_learning_rate": 1e-2},
             "distillation": {"weights": {"irf": 0.5}, "parts": 2}},
            [5, 13],
        ),
    ],
    ids=["class-balanced", "full", "etf", "validated", "muon"],
)  # fmt: skip
def test_a_run_broken_off_more_than_once_goes_on(
    workplace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    steps: list[int],
) -> None:
    recipe = make(workplace, **changes)
    unbroken = run(recipe, tmp_path / "unbroken")
    for step in steps:
        with monkeypatch.context() as patch, pytest.raises(BrokenOffError):
            break_at(step, patch)
            run(recipe, tmp_path / "broken")
    assert list_checkpoints(tmp_path / "broken")
    assert are_equal(unbroken, run(recipe, tmp_path / "broken"))
    assert read_history(tmp_path / "unbroken") == read_history(tmp_path / "broken")


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    workplace: Path, tmp_path: Path, unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file may grow beyond half of what the optimizer needs, from the second save on."""
    recipe = make(workplace)
    folder, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    save = CollapseTrainer._save_checkpoint

    def fill_disk(self: CollapseTrainer, *arguments: Any) -> None:
        if whole := list_checkpoints(folder):
            size = (folder / whole[0] / "optimizer.pt").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
        try:
            save(self, *arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(CollapseTrainer, "_save_checkpoint", fill_disk)
        with pytest.raises(BadInput, match=r"run: cannot be written: .*free space"):
            run(recipe, folder)
    assert list_checkpoints(folder) == ["checkpoint-4"]
    assert are_equal(unbroken.weights, run(recipe, folder))


def test_a_folder_that_cannot_be_written_is_named(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/run: cannot be written: .*mend the permissions"):
        run(make(workplace), tmp_path / "file" / "run")


def test_an_unfinished_run_of_another_recipe_is_refused(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(BrokenOffError):
        break_at(5, patch)
        run(make(workplace), tmp_path)
    with pytest.raises(BadInput, match=r"unfinished run with another loss; .*remove the folder"):
        run(make(workplace, loss={"tau": 0.5}), tmp_path)
    described = json.loads((tmp_path / RUN_FILE).read_text())
    assert open_run(tmp_path, described) == tmp_path / "checkpoint-4"
    with pytest.raises(BadInput, match="another examples; "):
        open_run(tmp_path, described | {"examples": "others"})
    (tmp_path / RUN_FILE).unlink()
    with pytest.raises(BadInput, match="another prompt, loading, lora, "):
        open_run(tmp_path, described)


def test_half_a_checkpoint_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text('{"global_step": 3, "epo')
    (tmp_path / "checkpoint-4").mkdir()
    assert open_run(tmp_path, {"loss": "any"}) is None
    assert not list_checkpoints(tmp_path)
    assert json.loads((tmp_path / RUN_FILE).read_text()) == {"loss": "any"}
