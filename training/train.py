"""From recipe to checkpoint: the story of a fine-tuning run."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from contract.manifest import MANIFEST_NAME, CheckpointError, Manifest, Task, read_manifest
from contract.prompts import Frame
from training.checkpoints.export import describe_measurement, export_checkpoint, write_card
from training.checkpoints.work_folder import claim_work, final_folder, keep_final, load_final
from training.data.batches import build_encoder
from training.data.examples import Example, assign_rows, measure_prior
from training.data.sampling import thin_out
from training.data.support import Support, read_support
from training.errors import BadInput
from training.evaluation.behaviour import describe_behaviour
from training.evaluation.crossvalidate import HeldOut
from training.evaluation.cv_evaluation import Evaluation, evaluate_as_asked, pool_modes, report
from training.evaluation.final_test import measure_test
from training.evaluation.preparation import prepare
from training.fit import fit
from training.recipe.recipe import TrainRecipe
from training.statistics.conformal import fit_thresholds
from training.statistics.scaling import fit_scaling


def train(recipe: TrainRecipe) -> Manifest:
    """Cross-validate, calibrate on the held-out scores, train on everything, export, test.

    With `recipe.dev` those scores are the final model's on that; with `recipe.test` alone, a
    fold's. What is finished is kept in `recipe.work` and not trained again.
    """
    check_exportable(recipe)
    label_sets, examples, tokenizer = prepare(recipe)
    support = read_support(recipe)
    if recipe.measured_on == "dev":  # the final model itself is judged
        _fit_final(recipe, label_sets, examples, tokenizer, support)
    held_out, evaluation = evaluate_as_asked(recipe, label_sets, examples, tokenizer, support)
    _fit_final(recipe, label_sets, examples, tokenizer, support)
    frame = build_encoder(tokenizer, recipe.prompt, label_sets).frame
    tasks = build_tasks(recipe, label_sets, examples, held_out, evaluation, frame)
    return _export(recipe, tokenizer, tasks, examples)


def _fit_final(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> None:
    """Train the model that is exported, unless it is kept."""
    if final_folder(recipe).is_dir():
        return
    claim_work(recipe)
    training = thin_out(recipe, examples)
    folder = recipe.work / "final"
    keep_final(
        recipe,
        fit(recipe, training, label_sets, tokenizer, run_folder=folder, support=support),
    )


def export(recipe: TrainRecipe) -> Manifest:
    """Write the checkpoint of a finished run: calibrate, prove, write; nothing is trained."""
    check_exportable(recipe)
    label_sets, examples, tokenizer = prepare(recipe)
    held_out, evaluation = report(recipe, label_sets, examples)
    frame = build_encoder(tokenizer, recipe.prompt, label_sets).frame
    tasks = build_tasks(recipe, label_sets, examples, held_out, evaluation, frame)
    return _export(recipe, tokenizer, tasks, examples)


def _export(
    recipe: TrainRecipe,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Task],
    examples: Sequence[Example],
) -> Manifest:
    """The checkpoint, tested, and its card again once that and how it behaves is known."""
    manifest = export_checkpoint(recipe, load_final(recipe), tokenizer, tasks, examples)
    manifest = measure_test(recipe, manifest, examples)
    if recipe.card is not None and (recipe.card.behaviour or recipe.test):
        rewrite_card(recipe)
    return manifest


def rewrite_card(recipe: TrainRecipe) -> bool:
    """Write the model card anew from the manifest of an exported checkpoint, if there is one."""
    if recipe.card is None or not (recipe.output / MANIFEST_NAME).exists():
        return False
    try:
        manifest = read_manifest(recipe.output)
    except CheckpointError as error:
        raise BadInput(str(error)) from error
    measured = describe_measurement(recipe, manifest)
    behaviour = describe_behaviour(recipe, recipe.output)
    write_card(recipe, recipe.output, manifest, measured, behaviour)
    return True


def check_exportable(recipe: TrainRecipe) -> None:
    """Raise BadInput for what would make the export fail after hours of training."""
    if recipe.loss.prior_left and recipe.optimisation.sampling != "class-balanced":
        raise BadInput(
            f"loss.name {recipe.loss.name}: its logits answer for the class mix of the training "
            "data, and a bias-free head cannot hold the correction; it can be cross-validated, "
            "but for a checkpoint use logit-adjusted or balanced-softmax"
        )


def build_tasks(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    held_out: Mapping[str, Mapping[str, HeldOut]],
    evaluation: Evaluation,
    frame: Frame,
) -> list[Task]:
    """The heads of the checkpoint, calibrated on scores of models that never saw the item."""
    rows = assign_rows(label_sets)
    tasks = []
    for label_set in label_sets:
        logits, labels = pool_modes(held_out[label_set.task])
        views = len(held_out[label_set.task])
        scaling = fit_scaling(logits, labels, views=views)
        tasks.append(
            Task(
                label_set=label_set,
                rows=tuple(rows[label_set.task]),
                temperature=scaling.temperature,
                biases=tuple(scaling.biases.tolist()),
                training_prior=tuple(measure_prior(examples, label_set)),
                conformal_thresholds=tuple(
                    fit_thresholds(
                        scaling.apply(logits), labels, recipe.evaluation.coverage, views=views
                    )
                ),
                conformal_coverage=recipe.evaluation.coverage,
                prompt_version=recipe.prompt.version,
                max_tokens=recipe.prompt.max_tokens,
                window=recipe.prompt.window,
                frame=frame,
                evaluation=dict(evaluation[label_set.task]),
            )
        )
    return tasks
