"""Models fitted before the one that is kept, to label with the teacher what has no label.

A student of labels and n-grams errs elsewhere than the n-grams it learned from: the two
together know more than either, and a model that learns from both can know more than the
student (Furlanello et al., ICML 2018; on texts without labels Xie et al., CVPR 2020). Asked
about examples whose label it was shown, it would repeat the label; so it is not asked there.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from training.data.batches import build_encoder
from training.data.examples import assign_rows
from training.data.sampling import prior_shift
from training.data.support import Support, count_per_epoch
from training.files import read_arrays, write_arrays
from training.fitting.fit_data import Material
from training.fitting.processes import is_first
from training.fitting.resume import check_same, close_run, describe_run, drop_checkpoints
from training.fitting.single_run import fine_tune
from training.fitting.teacher import Answers, Teacher
from training.models.prediction import predict_scores
from training.recipe.recipe import TrainRecipe

_BATCH = 16  # on a CPU faster than 64, whose activations outgrow the caches


def ask_students(
    recipe: TrainRecipe, material: Material, ngrams: Answers, run_folder: Path
) -> list[Answers]:
    """Fit the students of `recipe.distillation`; return what each answers.

    They learn the tasks of the unlabelled texts alone, from the same examples and `ngrams` as
    the model after them, each with a seed of its own; they hold nothing back. Answers are kept
    in `run_folder` until `forget_students`, so a run that was killed goes on with the next
    student. Raises as `training.fit.fit` does.
    """
    answers = []
    folders = _list_folders(recipe, run_folder)
    for number, folder in enumerate(folders, 1):
        print(f"student {number} of {len(folders)}", flush=True)
        own = _narrow_recipe(recipe, material.support, number)
        answers.append(_ask(own, _narrow_material(own, material), Teacher(ngrams), folder))
    return answers


def forget_students(recipe: TrainRecipe, run_folder: Path) -> None:
    """Remove the answers: the model that they were for is finished. The logs stay."""
    for folder in _list_folders(recipe, run_folder):
        _answers_file(folder).unlink(missing_ok=True)
        close_run(folder)


def answer_unlabelled(recipe: TrainRecipe, model: PreTrainedModel, material: Material) -> Answers:
    """What a model fitted to the material answers on its texts without labels.

    In the precision of training: on one core half the time, and near enough to teach.
    """
    tokenizer, label_sets = material.tokenizer, material.label_sets
    shift = prior_shift(recipe, material.labelled, label_sets)
    encoder = build_encoder(tokenizer, recipe.prompt, label_sets)
    rows = assign_rows(label_sets)
    bf16 = recipe.optimisation.bf16
    answers = {}
    for labels in label_sets:
        own = [each for each in material.support.unlabelled if each.task == labels.task]
        if not own:
            continue
        prompts = encoder.encode(own)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            scores = predict_scores(model, prompts, tokenizer.pad_token_id, batch_size=_BATCH)
        answers[labels.task] = (scores - shift)[:, rows[labels.task]].astype(np.float64)
    return answers


def _ask(recipe: TrainRecipe, material: Material, teacher: Teacher, folder: Path) -> Answers:
    path = _answers_file(folder)
    if path.exists():
        check_same(folder, describe_run(recipe, material.everything, material.label_sets))
        return read_arrays(path)
    model = fine_tune(recipe, material, folder, teacher, seed=recipe.optimisation.seed)
    answers = answer_unlabelled(recipe, model, material)
    if is_first():
        write_arrays(path, answers)
        drop_checkpoints(folder)
    return answers


def _narrow_recipe(recipe: TrainRecipe, support: Support, number: int) -> TrainRecipe:
    """The recipe of a student: the tasks of the texts, no students before it, its own seed."""
    distillation = recipe.distillation
    assert distillation is not None and distillation.students is not None
    tasks = {example.task for example in support.unlabelled}
    limit = distillation.students.per_epoch
    own_support = [
        source
        if source.labelled or limit is None
        else source.model_copy(update={"per_epoch": limit})
        for source in recipe.support
        if source.task in tasks
    ]
    weights = {task: weight for task, weight in distillation.weights.items() if task in tasks}
    optimisation = {
        "seed": recipe.optimisation.seed + number,
        "validation_share": 0.0,
        "early_stopping_patience": None,
    }
    return recipe.model_copy(
        update={
            "sources": [source for source in recipe.sources if source.task in tasks],
            "support": own_support,
            "distillation": distillation.model_copy(update={"weights": weights, "students": None}),
            "optimisation": recipe.optimisation.model_copy(update=optimisation),
        }
    )


def _narrow_material(recipe: TrainRecipe, material: Material) -> Material:
    """What the recipe of a student learns from."""
    tasks = {source.task for source in recipe.sources}
    support = Support(
        [example for example in material.support.examples if example.task in tasks],
        material.support.unlabelled,
        [],
        count_per_epoch(recipe.support),
    )
    return Material(
        training=[example for example in material.training if example.task in tasks],
        held_back=[],
        support=support,
        label_sets=[labels for labels in material.label_sets if labels.task in tasks],
        tokenizer=material.tokenizer,
    )


def _list_folders(recipe: TrainRecipe, run_folder: Path) -> list[Path]:
    students = recipe.distillation.students if recipe.distillation else None
    count = students.count if students else 0
    return [run_folder / f"student-{number}" for number in range(1, count + 1)]


def _answers_file(folder: Path) -> Path:
    return folder / "answers.npz"
