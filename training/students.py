"""Models fitted before the one that is kept, to label with the teacher what has no label.

A student of labels and n-grams errs elsewhere than the n-grams it learned from: the two
together know more than either, and a model that learns from both can know more than the
student (Furlanello et al., ICML 2018; on texts without labels Xie et al., CVPR 2020). Asked
about examples whose label it was shown, it would repeat the label; so it is not asked there.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.batches import build_encoder
from training.data import Example
from training.fine_tuning import fine_tune
from training.kept import read_arrays, write_arrays
from training.model import assign_rows
from training.prediction import predict_scores
from training.processes import is_first
from training.recipe import TrainRecipe
from training.resume import check_same, close_run, describe_run, drop_checkpoints
from training.sampling import prior_shift, split_validation
from training.support import Support, count_per_epoch, list_trained
from training.teacher import Answers, Teacher, ask_ngrams

_BATCH = 16  # on a CPU faster than 64, whose activations outgrow the caches


def ask_students(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    run_folder: Path,
    support: Support,
) -> list[Answers]:
    """Fit the students of `recipe.distillation`; return what each answers.

    They learn the tasks of the unlabelled texts alone, from the same examples as the model
    after them, each with a seed of its own. Answers are kept in `run_folder` until
    `forget_students`, so a run that was killed goes on with the next student. Raises as
    `training.fit.fit` does.
    """
    options = recipe.optimisation
    training, _ = split_validation(examples, options.validation_share, options.seed)
    tasks = {example.task for example in support.unlabelled}
    own_sets = [labels for labels in label_sets if labels.task in tasks]
    own_examples = [example for example in training if example.task in tasks]
    answers = []
    folders = _list_folders(recipe, run_folder)
    for number, folder in enumerate(folders, 1):
        print(f"student {number} of {len(folders)}", flush=True)
        own = _narrow(recipe, tasks, number)
        own_support = Support(
            [example for example in support.examples if example.task in tasks],
            support.unlabelled,
            [],
            count_per_epoch(own.support),
        )
        answers.append(_ask(own, own_examples, own_sets, tokenizer, folder, own_support))
    return answers


def forget_students(recipe: TrainRecipe, run_folder: Path) -> None:
    """Remove the answers: the model that they were for is finished. The logs stay."""
    for folder in _list_folders(recipe, run_folder):
        _answers_file(folder).unlink(missing_ok=True)
        close_run(folder)


def answer_unlabelled(
    recipe: TrainRecipe,
    model: PreTrainedModel,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> Answers:
    """What a model fitted to the examples answers on the unlabelled texts of the support.

    In the precision of training: on one core half the time, and near enough to teach.
    """
    shift = prior_shift(recipe, list_trained(recipe, examples, support), label_sets)
    encoder = build_encoder(tokenizer, recipe.prompt)
    rows = assign_rows(label_sets)
    bf16 = recipe.optimisation.bf16
    answers = {}
    for labels in label_sets:
        items = [each.item for each in support.unlabelled if each.task == labels.task]
        if not items:
            continue
        prompts = encoder.encode(items)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            scores = predict_scores(model, prompts, tokenizer.pad_token_id, batch_size=_BATCH)
        answers[labels.task] = (scores - shift)[:, rows[labels.task]].astype(np.float64)
    return answers


def _ask(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    support: Support,
) -> Answers:
    path = _answers_file(folder)
    if path.exists():
        every_example = [*examples, *support.examples, *support.unlabelled]
        check_same(folder, describe_run(recipe, every_example, label_sets))
        return read_arrays(path)
    judged = [*list_trained(recipe, examples, support), *support.unlabelled]
    teacher = Teacher(ask_ngrams(recipe.distillation, judged, label_sets))
    seed = recipe.optimisation.seed
    model = fine_tune(recipe, examples, label_sets, tokenizer, folder, support, teacher, seed=seed)
    answers = answer_unlabelled(recipe, model, examples, label_sets, tokenizer, support)
    if is_first():
        write_arrays(path, answers)
        drop_checkpoints(folder)
    return answers


def _narrow(recipe: TrainRecipe, tasks: set[str], number: int) -> TrainRecipe:
    """The recipe of a student: the given tasks, no students before it, a seed of its own."""
    distillation = recipe.distillation
    assert distillation is not None and distillation.students is not None
    weights = {task: weight for task, weight in distillation.weights.items() if task in tasks}
    limit = distillation.students.per_epoch
    support = [
        source
        if source.labelled or limit is None
        else source.model_copy(update={"per_epoch": limit})
        for source in recipe.support
        if source.task in tasks
    ]
    seed = recipe.optimisation.seed + number
    return recipe.model_copy(
        update={
            "sources": [source for source in recipe.sources if source.task in tasks],
            "support": support,
            "distillation": distillation.model_copy(update={"weights": weights, "students": None}),
            "optimisation": recipe.optimisation.model_copy(update={"seed": seed}),
        }
    )


def _list_folders(recipe: TrainRecipe, run_folder: Path) -> list[Path]:
    students = recipe.distillation.students if recipe.distillation else None
    count = students.count if students else 0
    return [run_folder / f"student-{number}" for number in range(1, count + 1)]


def _answers_file(folder: Path) -> Path:
    return folder / "answers.npz"
