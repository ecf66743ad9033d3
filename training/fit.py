"""A fit from beginning to end: students and teacher, if the recipe has any, then the model."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.data.examples import Example
from training.data.support import Support, read_support
from training.fitting.fit_data import gather
from training.fitting.processes import is_first
from training.fitting.resume import close_run
from training.fitting.single_run import fine_tune
from training.fitting.teacher import Teacher, ask_ngrams
from training.fitting.trainer import LossError as LossError
from training.recipe.recipe import TrainRecipe
from training.students import answer_unlabelled, ask_students, forget_students


def fit(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    *,
    run_folder: Path,
    support: Support | None = None,
) -> PreTrainedModel:
    """Fine-tune the backbone on the examples and `recipe.support`; return the merged model.

    It is in float32 and has the heads of `label_sets` alone. `support` is what `read_support`
    returns, for whoever fits more than once; None reads it.

    With several runs it has the mean of their weights; each is taught by those before it too,
    and only the first has its logs in `run_folder` itself. With a validation share part of
    the examples only chooses the checkpoint. A fit that was killed goes on from its last
    checkpoint in `run_folder`, to the same weights as an unbroken one; when it is through its
    checkpoints are removed, the logs stay. With several processes each has its share of every
    batch, and the first returns the model.

    Raises BadInput if the folder holds an unfinished run of another recipe or other data, or
    cannot be written; LossError if the loss is not a number.
    """
    if support is None:
        support = read_support(recipe)
    options = recipe.optimisation
    material = gather(recipe, examples, support, label_sets, tokenizer)
    ngrams = ask_ngrams(recipe.distillation, material.everything, material.every_set)
    models = ask_students(recipe, material, ngrams, run_folder)
    folders = [run_folder, *(run_folder / f"run-{n}" for n in range(2, options.runs + 1))]
    seeds = [options.seed, *(options.seed + len(models) + n for n in range(1, options.runs))]
    mean: dict[str, Tensor] = {}
    for number, (folder, seed) in enumerate(zip(folders, seeds, strict=True), 1):
        if options.runs > 1:
            print(f"run {number} of {options.runs}", flush=True)
        teacher = Teacher(ngrams, tuple(models))
        model = fine_tune(recipe, material, folder, teacher, seed=seed)
        if options.runs > 1:
            _add(model, mean, options.runs)
        if number < options.runs:
            models.append(answer_unlabelled(recipe, model, material))
            del model  # a GPU may have room for one
    if mean:
        model.load_state_dict(mean)
    if is_first():
        forget_students(recipe, run_folder)
        for folder in folders:
            close_run(folder)
    return model


def _add(model: PreTrainedModel, mean: dict[str, Tensor], runs: int) -> None:
    """Add a run's share to the mean of the weights; on the CPU, which has more room."""
    for name, weight in model.state_dict().items():
        share = weight.cpu() / runs
        mean[name] = mean[name] + share if name in mean else share
