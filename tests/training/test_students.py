"""Students: fitted first, asked about what has no label, forgotten when the model is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training.fitting.single_run
from contract.inputs import Problem
from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training import killed_run
from tests.training.killed_run import BrokenOffError
from tests.training.tiny import make_backbone, make_taught
from training.data.batches import build_encoder
from training.data.examples import UNLABELLED, Example, read_examples
from training.data.support import read_support
from training.errors import BadInput
from training.fit import fit
from training.fitting.teacher import Teacher, ask_ngrams, build_targets
from training.fitting.trainer import CollapseTrainer
from training.models.model import load_tokenizer
from training.models.prediction import predict_scores
from training.recipe.method import DistillationRecipe
from training.recipe.presets import apply_preset
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow

SETS = [TIMSS, IRF]
DISTILLATION = {"weights": {"timss": 0.5}, "parts": 2}


def make(folder: Path, students: int, **changes: Any) -> TrainRecipe:
    """2 steps for a student, 6 for the model after it."""
    if not (folder / "backbone").exists():
        make_backbone(folder / "backbone")
    changes["optimisation"] = {"epochs": 1, "save_steps": 1} | changes.get("optimisation", {})
    own = {"count": students, "per_epoch": 4} if students else None
    return make_taught(folder, **changes | {"distillation": DISTILLATION | {"students": own}})


def read(recipe: TrainRecipe) -> list[Example]:
    return read_examples(recipe.sources, BUILT_IN, folds=2)


def run(recipe: TrainRecipe, folder: Path) -> dict[str, torch.Tensor]:
    tokenizer = load_tokenizer(recipe.backbone)
    return fit(recipe, read(recipe), SETS, tokenizer, run_folder=folder).state_dict()


def watch_targets(patch: pytest.MonkeyPatch) -> list[tuple[Sequence[Example], Any]]:
    """Examples and students' answers of each run, as they reach the targets."""
    seen: list[tuple[Sequence[Example], Any]] = []

    def watch(recipe: Any, examples: Any, sets: Any, sampling: str, teacher: Any) -> Any:
        seen.append((examples, teacher.models))
        return build_targets(recipe, examples, sets, sampling, teacher)

    patch.setattr(training.fitting.single_run, "build_targets", watch)
    return seen


def test_students_together_count_as_much_as_the_teacher(tmp_path: Path) -> None:
    examples = read(make(tmp_path, students=2))
    unknown = [Example("u", "timss", Problem(text=f"估算{n}？"), UNLABELLED) for n in (3, 8)]
    recipe = DistillationRecipe.model_validate(DISTILLATION)

    def label(*students: Any) -> Any:
        everything = [*examples, *unknown]
        ngrams = ask_ngrams(recipe, everything, SETS)
        teacher = Teacher(ngrams, [{"timss": np.array(each)} for each in students])
        return np.array(build_targets(recipe, everything, SETS, "instance", teacher)[-2:])

    alone = label()
    first, second = np.zeros((2, 7)), np.zeros((2, 7))
    first[:, 2], second[1, 4] = 3.0, 5.0
    expected = np.sqrt(alone) * np.exp((first + second) / 4)
    expected /= expected.sum(axis=1, keepdims=True)
    assert label(first, second) == pytest.approx(expected)
    assert label(first + 7.0, second) == pytest.approx(expected)  # only differences count


def test_a_model_learns_from_what_a_student_fitted_by_itself_would_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make(tmp_path, students=2)
    seen = watch_targets(monkeypatch)
    weights = run(recipe, tmp_path / "run")
    assert [len(answers) for _, answers in seen] == [0, 0, 2]
    assert "student 2 of 2" in capsys.readouterr().out
    fewer = recipe.support[0].model_dump() | {"per_epoch": 4}
    student = make(
        tmp_path,
        students=0,
        sources=[recipe.sources[0].model_dump()],
        support=[fewer],
        optimisation={"seed": 2},
    )
    tokenizer, support = load_tokenizer(recipe.backbone), read_support(recipe)
    model = fit(student, read(student), [TIMSS], tokenizer, run_folder=tmp_path / "student")
    prompts = build_encoder(tokenizer, recipe.prompt, [TIMSS]).encode(support.unlabelled)
    alone = predict_scores(model, prompts, tokenizer.pad_token_id)
    assert seen[2][1][1]["timss"] == pytest.approx(alone, abs=1e-6)
    assert np.abs(seen[2][1][0]["timss"] - alone).max() > 1e-3  # another seed, another student
    untaught = run(make(tmp_path, students=0), tmp_path / "untaught")
    assert any(not torch.equal(weights[name], untaught[name]) for name in weights)


def test_what_a_model_is_chosen_by_no_student_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(tmp_path, students=1, optimisation={"validation_share": 0.3})
    seen = watch_targets(monkeypatch)
    run(recipe, tmp_path / "run")
    student, model = ({each.id for each in examples} for examples, _ in seen)
    assert student < model and len(student) < len(model)


def test_a_fit_broken_off_in_a_student_and_after_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(tmp_path, students=1)
    unbroken, folder = run(recipe, tmp_path / "unbroken"), tmp_path / "broken"
    steps = 0

    def stop(self: CollapseTrainer, *arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in (2, 8):
            raise BrokenOffError
        return killed_run.compute_loss(self, *arguments, **options)

    monkeypatch.setattr(CollapseTrainer, "compute_loss", stop)
    with pytest.raises(BrokenOffError):
        run(recipe, folder)
    assert not list(folder.glob("run.json"))  # the student was not through
    with pytest.raises(BrokenOffError):
        run(recipe, folder)
    student = folder / "student-1"
    assert (student / "answers.npz").exists() and not list(student.glob("checkpoint-*"))
    other = make(tmp_path, students=1, optimisation={"learning_rate": 2e-2})
    with pytest.raises(BadInput, match=r"student-1: holds an unfinished run .* optimisation"):
        run(other, folder)
    resumed = run(recipe, folder)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert sorted(path.name for path in student.iterdir()) == ["collapse.jsonl", "runs"]


def test_damaged_answers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make(tmp_path, students=1)

    def stop(*_: Any, **__: Any) -> None:
        raise BrokenOffError

    with monkeypatch.context() as patch, pytest.raises(BrokenOffError):
        patch.setattr("training.fit.fine_tune", stop)
        run(recipe, tmp_path / "run")
    (tmp_path / "run" / "student-1" / "answers.npz").write_bytes(b"")
    with pytest.raises(BadInput, match=r"answers\.npz: cannot be read: .*remove it to train"):
        run(recipe, tmp_path / "run")


def test_students_need_texts_to_label(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"students label texts without labels, and .* has none"):
        make_taught(tmp_path, support=[], distillation=DISTILLATION | {"students": {}})
    raw = make(tmp_path, students=1).model_dump(mode="json")
    assert TrainRecipe.model_validate(apply_preset(raw, "ncal")).distillation is None
