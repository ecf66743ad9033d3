"""From held-out scores to the evaluation of a run and its report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.checkpoints.work_folder import check_work, read_collapse
from training.data.batches import build_encoder
from training.data.examples import (
    MODES,
    Example,
    assign_rows,
    list_modes,
    measure_prior,
    strip_following,
)
from training.data.recurrence import find_recurring
from training.data.sampling import thin_out
from training.data.support import Support
from training.errors import BadInput
from training.evaluation.baseline import read_baseline
from training.evaluation.crossvalidate import HeldOut, crossvalidate, fold_file, read_held_out
from training.evaluation.folds import find_groups
from training.files import read_arrays, write_arrays
from training.models.zero_shot import score_zero_shot
from training.recipe.recipe import TrainRecipe
from training.reporting.report import write_report
from training.statistics.conformal import cross_fit_views
from training.statistics.metrics import evaluate_task
from training.statistics.probabilities import Ints
from training.statistics.resampling import paired_intervals
from training.statistics.scaling import fit_scaling

Evaluation = dict[str, dict[str, dict[str, Any]]]
"""Task → mode → metrics."""
HeldOutByTask = dict[str, dict[str, HeldOut]]
"""Task → mode → scores."""


def evaluate(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    support: Support | None = None,
) -> tuple[HeldOutByTask, Evaluation]:
    """Cross-validate; write `report/` (JSON, Markdown and figures) into `recipe.work`.

    `support` is what `read_support` returns; None reads it.
    """
    crossvalidate(recipe, examples, label_sets, tokenizer, support)
    _keep_zero_shot(recipe, label_sets, examples, tokenizer)
    return report(recipe, label_sets, examples)


def report(
    recipe: TrainRecipe, label_sets: Sequence[LabelSet], examples: Sequence[Example]
) -> tuple[HeldOutByTask, Evaluation]:
    """The same from kept folds, without training; BadInput if one is missing."""
    check_work(recipe)
    held_out = read_held_out(recipe, examples, label_sets)
    zero_shot = _read_zero_shot(recipe)
    rows = assign_rows(label_sets)
    groups = find_groups(recipe, examples)
    evaluation: Evaluation = {}
    for label_set in label_sets:
        modes = held_out[label_set.task]
        places = next(iter(modes.values())).places
        untrained = {
            mode: scores[np.ix_(places, np.array(rows[label_set.task]))]
            for mode, scores in zero_shot.items()
        }
        evaluation[label_set.task] = _measure(recipe, label_set, examples, modes, untrained, groups)
    _write(recipe, label_sets, held_out, evaluation)
    return held_out, evaluation


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


def pool_modes(modes: Mapping[str, HeldOut]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One scaling and one set of thresholds serve both modes: fit them on both."""
    logits = np.concatenate([scores.logits for scores in modes.values()])
    labels = np.concatenate([scores.labels for scores in modes.values()])
    return logits, labels


def _measure(
    recipe: TrainRecipe,
    label_set: LabelSet,
    examples: Sequence[Example],
    modes: Mapping[str, HeldOut],
    zero_shot: Mapping[str, NDArray[np.float32]],
    groups: Ints | None,
) -> dict[str, dict[str, Any]]:
    first = next(iter(modes.values()))
    prior = np.array(measure_prior(examples, label_set))
    scaling = fit_scaling(*pool_modes(modes), views=len(modes))
    calibration = cross_fit_views(
        {mode: scores.logits for mode, scores in modes.items()},
        first.labels,
        prior,
        folds=recipe.evaluation.folds,
        places=None if groups is None else first.folds,
        coverage=recipe.evaluation.coverage,
    )
    recurring = _find_recurring(recipe, examples, first)
    own = None if groups is None else groups[first.places]
    measured = {
        mode: evaluate_task(
            calibration[mode].logits,
            scores.labels,
            label_set.ids,
            prior,
            recurring=recurring,
            zero_shot=zero_shot.get(mode),
            groups=own,
        )
        | {"cross_fit": calibration[mode].figures, **scaling.describe()}
        for mode, scores in modes.items()
    }
    baseline = read_baseline(recipe, label_set.task, first.labels, first.folds)
    if baseline is not None and "retrospective" in measured:
        measured["retrospective"]["beside_baseline"] = paired_intervals(
            first.labels,
            calibration["retrospective"].logits.argmax(axis=1),
            baseline.argmax(axis=1),
            np.arange(len(first.labels)) if own is None else own,
            len(label_set.labels),
            seed=0,
        )
    return measured


def _find_recurring(
    recipe: TrainRecipe, examples: Sequence[Example], held_out: HeldOut
) -> NDArray[np.bool_]:
    """Which held-out items (n,) have a text that the model of their fold was trained on."""
    recurring = np.empty(len(held_out.places), dtype=np.bool_)
    for fold in np.unique(held_out.folds):
        inside = held_out.folds == fold
        training = thin_out(recipe, [examples[i] for i in held_out.places[~inside]])
        recurring[inside] = find_recurring(
            [examples[i].item for i in held_out.places[inside]], [each.item for each in training]
        )
    return recurring


def _keep_zero_shot(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Score all examples before any training, once for a run."""
    path = recipe.work / "zero-shot.npz"
    if path.exists():
        return
    items = [example.item for example in examples]
    seen = {"retrospective": items, "live": [strip_following(item) for item in items]}
    modes = [mode for mode in MODES if any(mode in list_modes(each) for each in label_sets)]
    encoder = build_encoder(tokenizer, recipe.prompt)
    try:
        prompts = [prompt for mode in modes for prompt in encoder.encode(seen[mode])]
        scores = score_zero_shot(recipe.backbone, tokenizer, label_sets, prompts)
    except BadInput as error:
        print(f"not scored before training: {error}")
        return
    write_arrays(path, dict(zip(modes, np.split(scores, len(modes)), strict=True)))


def _read_zero_shot(recipe: TrainRecipe) -> dict[str, NDArray[Any]]:
    path = recipe.work / "zero-shot.npz"
    return read_arrays(path) if path.exists() else {}


def _write(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    held_out: HeldOutByTask,
    evaluation: Evaluation,
) -> None:
    results, arrays = {}, {}
    for task, modes in evaluation.items():
        for mode, metrics in modes.items():
            scores = held_out[task][mode]
            results[f"{task}/{mode}"] = metrics
            arrays[f"{task}/{mode}"] = (scores.logits, scores.labels)
    write_report(
        recipe.work / "report",
        results,
        arrays,
        label_sets,
        features=_read_features(recipe, held_out),
        collapse=read_collapse(recipe.work / "fold-0"),
    )


def _read_features(
    recipe: TrainRecipe, held_out: HeldOutByTask
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Held-out features of the first fold, which one model saw, in the span of its head."""
    points = read_arrays(fold_file(recipe, 0))["points"]
    inside = {task: modes["retrospective"] for task, modes in held_out.items()}
    places = np.sort(np.concatenate([each.places[each.folds == 0] for each in inside.values()]))
    return {
        f"{task}/retrospective": (
            points[np.searchsorted(places, each.places[each.folds == 0])],
            each.labels[each.folds == 0],
        )
        for task, each in inside.items()
    }
