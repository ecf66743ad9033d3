"""From held-out scores to the evaluation of a run and its report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.checkpoints.export import describe_source
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
from training.data.support import Support
from training.errors import BadInput
from training.evaluation.baseline import read_baseline
from training.evaluation.crossvalidate import HeldOut, crossvalidate, train_folds
from training.evaluation.judged import Judged, judge_dev, judge_folds, read_dev, score_dev
from training.files import read_arrays, write_arrays
from training.models.zero_shot import score_zero_shot
from training.recipe.recipe import TrainRecipe
from training.reporting.report import write_report
from training.statistics.conformal import cross_fit_views
from training.statistics.metrics import evaluate_task
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
    return _report(recipe, label_sets, examples, judge_folds(recipe, examples, label_sets))


def evaluate_as_asked(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> tuple[HeldOutByTask, Evaluation]:
    """The same for a checkpoint: on `recipe.dev` if it has one, with the final model, which must
    be kept by then; by one fold if it has `test` alone; else by all folds."""
    if recipe.measured_on == "cross-validation":
        return evaluate(recipe, label_sets, examples, tokenizer, support)
    if recipe.measured_on == "dev":
        score_dev(recipe, examples, label_sets, tokenizer, support)
        _keep_zero_shot(recipe, label_sets, read_dev(recipe), tokenizer)
    else:
        train_folds(recipe, examples, label_sets, tokenizer, support, folds=[0])
        _keep_zero_shot(recipe, label_sets, examples, tokenizer)
    return report(recipe, label_sets, examples)


def report(
    recipe: TrainRecipe, label_sets: Sequence[LabelSet], examples: Sequence[Example]
) -> tuple[HeldOutByTask, Evaluation]:
    """The same from what is kept, without training; BadInput if it is missing."""
    check_work(recipe)
    if recipe.measured_on == "dev":
        judged = judge_dev(recipe, examples, label_sets)
    else:
        folds = [0] if recipe.measured_on == "one fold" else None
        judged = judge_folds(recipe, examples, label_sets, folds)
    return _report(recipe, label_sets, examples, judged)


def _report(
    recipe: TrainRecipe,
    label_sets: Sequence[LabelSet],
    examples: Sequence[Example],
    judged: Judged,
) -> tuple[HeldOutByTask, Evaluation]:
    zero_shot = _read_zero_shot(recipe)
    rows = assign_rows(label_sets)
    evaluation: Evaluation = {}
    for label_set in label_sets:
        places = next(iter(judged.held_out[label_set.task].values())).places
        untrained = {
            mode: scores[np.ix_(places, np.array(rows[label_set.task]))]
            for mode, scores in zero_shot.items()
            if len(scores) == len(judged.examples)
        }
        prior = np.array(measure_prior(examples, label_set))
        evaluation[label_set.task] = _measure(recipe, label_set, prior, judged, untrained)
    _write(recipe, label_sets, judged, evaluation)
    return judged.held_out, evaluation


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
    prior: NDArray[np.float64],
    judged: Judged,
    zero_shot: Mapping[str, NDArray[np.float32]],
) -> dict[str, dict[str, Any]]:
    modes = judged.held_out[label_set.task]
    first = next(iter(modes.values()))
    scaling = fit_scaling(*pool_modes(modes), views=len(modes))
    calibration = cross_fit_views(
        {mode: scores.logits for mode, scores in modes.items()},
        first.labels,
        prior,
        folds=recipe.evaluation.folds,
        places=judged.parts[label_set.task],
        coverage=recipe.evaluation.coverage,
    )
    recurring = judged.recurring[label_set.task]
    own = None if judged.groups is None else judged.groups[first.places]
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
        | {
            "measured_on": judged.measured_on,
            "cross_fit": calibration[mode].figures,
            **scaling.describe(),
        }
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
    live = [each._replace(item=strip_following(each.item)) for each in examples]
    seen = {"retrospective": examples, "live": live}
    modes = [mode for mode in MODES if any(mode in list_modes(each) for each in label_sets)]
    encoder = build_encoder(tokenizer, recipe.prompt, label_sets)
    try:
        prompts = [prompt for mode in modes for prompt in encoder.encode(seen[mode])]
        scores = score_zero_shot(recipe.backbone, tokenizer, label_sets, prompts, recipe.loading)
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
    judged: Judged,
    evaluation: Evaluation,
) -> None:
    results, arrays = {}, {}
    for task, modes in evaluation.items():
        for mode, metrics in modes.items():
            scores = judged.held_out[task][mode]
            results[f"{task}/{mode}"] = metrics
            arrays[f"{task}/{mode}"] = (scores.logits, scores.labels)
    write_report(
        recipe.work / "report",
        results,
        arrays,
        label_sets,
        features=_read_features(judged),
        collapse=read_collapse(judged.run_folder),
        note=describe_source(recipe, judged.measured_on, judged.groups is not None),
    )


def _read_features(judged: Judged) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Held-out features of the first fold, or of `dev`, which one model saw, in the span of its
    head."""
    points = read_arrays(judged.scores)["points"]
    inside = {task: modes["retrospective"] for task, modes in judged.held_out.items()}
    places = np.sort(np.concatenate([each.places[each.folds == 0] for each in inside.values()]))
    return {
        f"{task}/retrospective": (
            points[np.searchsorted(places, each.places[each.folds == 0])],
            each.labels[each.folds == 0],
        )
        for task, each in inside.items()
    }
