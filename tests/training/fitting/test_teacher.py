"""The n-gram teacher: it judges each example from the others, and labels what has no label."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.inputs import DialogueTurn, Problem, Turn
from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training.tiny import make_backbone, make_data, make_recipe, make_taught
from training.data.examples import UNLABELLED, Example, read_examples
from training.data.support import read_support
from training.errors import BadInput
from training.fit import fit
from training.fitting.epoch_sampler import EpochSampler
from training.fitting.teacher import Teacher, ask_ngrams, build_targets
from training.losses.objective import Objective
from training.models.model import load_tokenizer
from training.models.ngrams import NgramClassifier
from training.recipe.method import DistillationRecipe

pytestmark = pytest.mark.slow

SETS = [TIMSS, IRF]


def read(folder: Path, per_class: int = 6) -> list[Example]:
    make_data(folder, per_class)
    return read_examples(make_recipe(folder).sources, BUILT_IN, folds=2)


def build(examples: list[Example], weight: float | None, sampling: str = "instance") -> list[Any]:
    """Targets of problems with a teacher of that weight, of turns without."""
    recipe = None if weight is None else DistillationRecipe(weights={"timss": weight}, parts=2)
    teacher = Teacher(ask_ngrams(recipe, examples, SETS))
    return build_targets(recipe, examples, SETS, sampling, teacher)


def test_without_a_teacher_a_target_is_the_label(tmp_path: Path) -> None:
    examples = read(tmp_path)
    for target, example in zip(build(examples, None), examples, strict=True):
        assert target.sum() == 1.0 and target[example.label] == 1.0
        assert len(target) == (7 if example.task == "timss" else 8)


def test_a_wrong_label_is_doubted_by_those_that_never_saw_it(tmp_path: Path) -> None:
    examples = read(tmp_path, per_class=12)
    wrong = examples[0]._replace(label=3)
    targets = build([wrong, *examples[1:]], 0.5)
    assert targets[0][examples[0].label] > 0.3  # its true class, on the word of the others
    assert targets[0][3] == pytest.approx(0.5, abs=0.1)
    right = [target[e.label] for target, e in zip(targets[1:84], examples[1:84], strict=True)]
    assert np.mean(right) > 0.9
    untaught = targets[84:]
    assert all(target.max() == 1.0 for target in untaught)  # turns: no teacher was asked for


def test_a_text_without_label_has_the_teachers_answer_alone(tmp_path: Path) -> None:
    examples = read(tmp_path)
    unknown = Example("u", "timss", Problem(text="估算8？"), UNLABELLED)
    targets = build([*examples, unknown], 0.0)
    assert targets[-1].sum() == pytest.approx(1.0) and targets[-1].max() < 1.0
    alike = next(each for each in examples if each.item.text.startswith("估算"))
    assert targets[-1].argmax() == alike.label
    assert all(target.max() == 1.0 for target in targets[:-1])  # weight 0: labels stay as they are


def test_the_answers_hold_the_prior_of_the_batches(tmp_path: Path) -> None:
    examples = read(tmp_path)
    few = [e for e in examples if e.task == "timss" and (e.label == 0 or e.id.endswith(("0", "1")))]
    unknown = Example("u", "timss", Problem(text="三角形8？"), UNLABELLED)
    as_they_come = build([*few, unknown], 1.0)[-1]
    balanced = build([*few, unknown], 1.0, sampling="class-balanced")[-1]
    ratio = as_they_come / balanced
    assert ratio / ratio[1] == pytest.approx([3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_more_parts_than_examples_of_a_class_are_refused(tmp_path: Path) -> None:
    recipe = DistillationRecipe(weights={"timss": 0.5}, parts=7)
    with pytest.raises(BadInput, match=r"distillation\.parts 7: no class of timss has .* lower it"):
        ask_ngrams(recipe, read(tmp_path), SETS)


def test_ngrams_read_the_turn_apart_from_its_context() -> None:
    def turn(text: str, before: str) -> DialogueTurn:
        return DialogueTurn(
            speaker="student", text=text, previous=(Turn(speaker="teacher", text=before),)
        )

    items = [turn("对", "看题"), turn("看题", "对")] * 6
    model = NgramClassifier(items, np.array([0, 1] * 6), 3)
    logits = model.predict_logits(items[:2])
    assert logits.argmax(axis=1).tolist() == [0, 1]
    assert logits[:, 2].tolist() == [-30.0, -30.0]  # a class nobody showed it
    assert model.predict_logits([]).shape == (0, 3)


def test_texts_without_labels_are_read_apart_and_drawn_by_number(tmp_path: Path) -> None:
    recipe = make_taught(tmp_path)
    support = read_support(recipe)
    assert support.examples == [] and support.label_sets == []
    assert [e.item.text for e in support.unlabelled] == [f"周长{n}？" for n in range(10, 30)]
    labelled = read_examples(recipe.sources, BUILT_IN, folds=2)
    everything = [*labelled, *support.unlabelled]
    sampler = EpochSampler(
        everything, [5] * len(everything), "class-balanced", batch_size=4, seed=0,
        per_epoch=support.per_epoch,
    )  # fmt: skip
    drawn = list(sampler)
    assert len(drawn) == len(labelled) + 8
    assert sum(place >= len(labelled) for place in drawn) == 8


def test_a_fit_learns_from_labels_and_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backbone(tmp_path / "backbone")
    recipe = make_taught(tmp_path, optimisation={"epochs": 1})
    seen: list[Any] = []
    measure = Objective.measure

    def watch(self: Objective, features: Any, scores: Any, head: Any, batch: Any) -> Any:
        seen.append(batch)
        return measure(self, features, scores, head, batch)

    monkeypatch.setattr(Objective, "measure", watch)
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    fit(recipe, examples, SETS, load_tokenizer(recipe.backbone), run_folder=tmp_path / "run")
    labels = np.concatenate([batch["labels"] for batch in seen])
    targets = np.concatenate([batch["targets"] for batch in seen])
    assert (labels == UNLABELLED).sum() == pytest.approx(8, abs=2)  # the last batch is dropped
    assert targets.sum(axis=1) == pytest.approx(np.ones(len(targets)), abs=1e-5)
    assert (targets[labels == UNLABELLED].max(axis=1) < 1.0).all()
    problems = np.concatenate([batch["task_numbers"] for batch in seen]) == 0
    known = targets[(labels != UNLABELLED) & problems][:, :7]
    assert (known > 0.0).all() and (known.max(axis=1) < 1.0).all()
    assert (targets[~problems].max(axis=1) == 1.0).all()  # turns have no teacher here


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"distillation": None}, "support of timss has no labels: name the task"),
        ({"distillation": {"weights": {"irf": 0.5}}}, "support of timss has no labels"),
        ({"distillation": {"weights": {"kind": 0.5}}}, "no source has the task kind"),
        ({"loss": {"name": "focal"}}, "knows no soft targets"),
        (
            {"sources": [{"path": "x", "format": "math-problems", "task": "timss"}]},
            "sources, dev and test need labels",
        ),
        (
            {"sources": [{"path": "x", "format": "pmtd", "task": "irf"}]},
            "no source has the task timss",
        ),
        (
            {"optimisation": {"muon_learning_rate": 0.01}, "trainer": {"fsdp": True}},
            "Muon needs whole matrices",
        ),
    ],
)
def test_what_cannot_be_taught_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        make_taught(tmp_path, **changes)
