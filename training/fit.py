"""A fit from beginning to end: students first, if the recipe has any, then the model."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.data import Example
from training.fine_tuning import fine_tune
from training.processes import is_first
from training.recipe import TrainRecipe
from training.resume import close_run
from training.students import ask_students, forget_students
from training.support import Support, read_support
from training.trainer import LossError as LossError


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

    With a validation share part of them only chooses the checkpoint. A run that was killed
    goes on from its last checkpoint in `run_folder`, to the same weights as an unbroken one;
    when a run is through its checkpoints are removed, the logs stay. With several processes
    each has its share of every batch, and the first returns the model.

    Raises BadInput if the folder holds an unfinished run of another recipe or other data, or
    cannot be written; LossError if the loss is not a number.
    """
    if support is None:
        support = read_support(recipe)
    answers = ask_students(recipe, examples, label_sets, tokenizer, run_folder, support)
    model = fine_tune(recipe, examples, label_sets, tokenizer, run_folder, support, answers)
    if is_first():
        forget_students(recipe, run_folder)
        close_run(run_folder)
    return model
