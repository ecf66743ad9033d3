"""From recipe to checkpoint: the story of a fine-tuning run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from contract.manifest import Manifest, Task
from training.calibration import cross_fit_views, fit_temperature, fit_thresholds
from training.crossvalidate import PRIOR_BOUND, HeldOut, crossvalidate
from training.data import Example, measure_prior, read_examples, read_label_sets, report_repeats
from training.errors import BadInput
from training.export import export_checkpoint
from training.fit import fit
from training.metrics import evaluate_task
from training.model import assign_rows, load_tokenizer
from training.parity import check_engine_installed
from training.recipe import TrainRecipe
from training.report import write_report

Evaluation = dict[str, dict[str, dict[str, Any]]]
"""Task → mode → metrics."""


def train(recipe: TrainRecipe) -> Manifest:
    """Cross-validate, calibrate on the held-out scores, train on everything, export."""
    check_exportable(recipe)
    label_sets, examples, tokenizer = prepare(recipe)
    held_out, evaluation = evaluate(recipe, label_sets, examples, tokenizer)
    model = fit(recipe, examples, label_sets, tokenizer, run_folder=recipe.work / "final")
    tasks = build_tasks(recipe, label_sets, examples, held_out, evaluation)
    return export_checkpoint(recipe, model, tokenizer, tasks, examples)


def check_exportable(recipe: TrainRecipe) -> None:
    """Raise BadInput for what would make the export fail after hours of training."""
    check_engine_installed()
    if recipe.loss.name in PRIOR_BOUND:
        raise BadInput(
            f"loss.name {recipe.loss.name}: its logits answer for the class mix of the training "
            "data, and a bias-free head cannot hold the correction; it can be cross-validated, "
            "but for a checkpoint use logit-adjusted or balanced-softmax"
        )


def prepare(
    recipe: TrainRecipe,
) -> tuple[list[LabelSet], list[Example], PreTrainedTokenizerBase]:
    """Read and check everything a run needs, short of the weights."""
    known = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, known, folds=recipe.evaluation.folds)
    label_sets = [known[task] for task in dict.fromkeys(source.task for source in recipe.sources)]
    tokenizer = load_tokenizer(recipe.backbone)
    try:
        recipe.work.mkdir(parents=True, exist_ok=True)
        recipe.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{recipe.work}: cannot be made: {error}; choose another `work`") from error
    for line in report_repeats(examples):
        print(line)
    return label_sets, examples, tokenizer


def evaluate(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[dict[str, dict[str, HeldOut]], Evaluation]:
    """Cross-validate; write `report/` (JSON, Markdown and figures) into `recipe.work`."""
    held_out = crossvalidate(recipe, examples, label_sets, tokenizer)
    evaluation: Evaluation = {}
    for label_set in label_sets:
        modes = held_out[label_set.task]
        temperature = fit_temperature(*_pool(modes))
        prior = np.array(measure_prior(examples, label_set))
        calibration = cross_fit_views(
            {mode: scores.logits for mode, scores in modes.items()},
            next(iter(modes.values())).labels,
            prior,
            folds=recipe.evaluation.folds,
            coverage=recipe.evaluation.coverage,
        )
        evaluation[label_set.task] = {
            mode: evaluate_task(scores.logits, scores.labels, label_set.ids, prior, temperature)
            | {"cross_fit": calibration[mode]}
            for mode, scores in modes.items()
        }
    _write_report(recipe.work / "report", held_out, evaluation, label_sets)
    return held_out, evaluation


def build_tasks(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    held_out: Mapping[str, Mapping[str, HeldOut]],
    evaluation: Evaluation,
) -> list[Task]:
    """The heads of the checkpoint, calibrated on scores of models that never saw the item."""
    rows = assign_rows(label_sets)
    tasks = []
    for label_set in label_sets:
        logits, labels = _pool(held_out[label_set.task])
        temperature = fit_temperature(logits, labels)
        tasks.append(
            Task(
                label_set=label_set,
                rows=tuple(rows[label_set.task]),
                temperature=temperature,
                training_prior=tuple(measure_prior(examples, label_set)),
                conformal_thresholds=tuple(
                    fit_thresholds(
                        logits,
                        labels,
                        temperature,
                        recipe.evaluation.coverage,
                        views=len(held_out[label_set.task]),
                    )
                ),
                conformal_coverage=recipe.evaluation.coverage,
                prompt_version=recipe.prompt.version,
                max_tokens=recipe.prompt.max_tokens,
                window=recipe.prompt.window,
                evaluation=dict(evaluation[label_set.task]),
            )
        )
    return tasks


def _write_report(
    folder: Path,
    held_out: Mapping[str, Mapping[str, HeldOut]],
    evaluation: Evaluation,
    label_sets: Sequence[LabelSet],
) -> None:
    results = {f"{task}/{mode}": m for task, by in evaluation.items() for mode, m in by.items()}
    arrays = {
        f"{task}/{mode}": (scores.logits, scores.labels)
        for task, by in held_out.items()
        for mode, scores in by.items()
    }
    write_report(folder, results, arrays, label_sets)


def summarize(task: str, modes: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each mode of a task: the figures one looks at first."""
    lines = []
    for mode, metrics in modes.items():
        low, high = metrics["intervals"]["macro_recall"]
        after, sets = metrics["cross_fit"]["after"], metrics["cross_fit"]["sets"]
        lines.append(
            f"{task} ({mode}): macro recall {metrics['macro_recall']:.3f} [{low:.3f}, {high:.3f}], "
            f"accuracy {metrics['accuracy']:.3f}, ECE {after['ece_uniform']:.3f}, "
            f"coverage {sets['coverage']:.3f} with {sets['set_size']:.2f} labels"
        )
    return "\n".join(lines)


def _pool(modes: Mapping[str, HeldOut]) -> tuple[np.ndarray, np.ndarray]:
    """One temperature and one set of thresholds serve both modes: fit them on both."""
    logits = np.concatenate([scores.logits for scores in modes.values()])
    labels = np.concatenate([scores.labels for scores in modes.values()])
    return logits, labels
