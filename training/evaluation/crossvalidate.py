"""Cross-validation: scores for every example by a model that never saw it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.checkpoints.work_folder import claim_work
from training.data.batches import build_encoder
from training.data.examples import MODES, Example, assign_rows, list_modes, strip_following
from training.data.sampling import prior_shift, thin_out
from training.data.support import Support, read_support
from training.errors import BadInput
from training.evaluation.folds import deal_examples
from training.files import read_arrays, write_arrays
from training.fit import fit
from training.fitting.fit_data import gather
from training.models.heads import read_head
from training.models.prediction import predict_features, predict_scores
from training.recipe.recipe import TrainRecipe

Arrays = dict[str, NDArray[Any]]


class HeldOut(NamedTuple):
    """Scores of one task in one mode by a model that never saw the item; the true labels (n,).

    `logits` (n, K) are raw but for the correction to a uniform prior where the loss needs
    one; `uncorrected` (n, K) are without it. `folds` (n,) names the fold in which the item
    was held out, `places` (n,) its position among all examples.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    places: NDArray[np.int64]
    uncorrected: NDArray[np.float32]


def crossvalidate(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support | None = None,
) -> dict[str, dict[str, HeldOut]]:
    """Train once a fold; return task → mode → held-out scores.

    Finished folds are kept in `recipe.work`, so a run that was broken off goes on with
    the next one. Problems know one mode only, `retrospective`. An imbalance ratio thins out
    what is trained on, never what is held out. `support` is what `read_support` returns;
    None reads it.
    """
    train_folds(
        recipe, examples, label_sets, tokenizer, support, folds=range(recipe.evaluation.folds)
    )
    return read_held_out(recipe, examples, label_sets)


def train_folds(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support | None = None,
    *,
    folds: Sequence[int],
) -> None:
    """Train those of the folds that are not kept yet, for instance one on each machine.

    Raises BadInput for a number that is none of the recipe's folds.
    """
    if strange := sorted(set(folds) - set(range(recipe.evaluation.folds))):
        raise BadInput(
            f"fold {strange[0]}: the recipe has {recipe.evaluation.folds} folds, from 0 on"
        )
    claim_work(recipe)
    if support is None:
        support = read_support(recipe)
    numbers = deal_examples(recipe, examples)
    for fold in folds:
        if not fold_file(recipe, fold).exists():
            print(f"fold {fold + 1} of {recipe.evaluation.folds}", flush=True)
            training = thin_out(recipe, [examples[i] for i in np.flatnonzero(numbers != fold)])
            held_out = [examples[i] for i in np.flatnonzero(numbers == fold)]
            arrays = _train_fold(recipe, fold, training, held_out, label_sets, tokenizer, support)
            write_arrays(fold_file(recipe, fold), arrays)


def fold_file(recipe: TrainRecipe, fold: int) -> Path:
    """Where a finished fold is kept.

    It holds raw scores (n, rows) by mode, the `shift` (rows,) to subtract from them, the
    held-out features in coordinates of the head's span as `points` (n, rows), and the
    `seconds` and `cpu_seconds` of the fit.
    """
    return recipe.work / f"fold-{fold}.npz"


def read_held_out(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    folds: Sequence[int] | None = None,
) -> dict[str, dict[str, HeldOut]]:
    """What `crossvalidate` returns, from kept folds; BadInput if one is missing or not theirs.

    Of `folds` alone where they are named: then only the examples held out there have scores.
    """
    numbers = deal_examples(recipe, examples)
    files = {fold: fold_file(recipe, fold) for fold in folds or range(recipe.evaluation.folds)}
    return read_parts(files, numbers, examples, label_sets)


def read_parts(
    files: Mapping[int, Path],
    numbers: NDArray[np.int64],
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
) -> dict[str, dict[str, HeldOut]]:
    """Put kept scores together: a file for each number that examples (n,) have."""
    width = sum(len(labels.labels) for labels in label_sets)
    scores = {mode: np.empty((len(examples), width), dtype=np.float32) for mode in MODES}
    shifts = np.zeros((len(examples), width), dtype=np.float32)
    for number, path in files.items():
        arrays, inside = read_arrays(path), numbers == number
        if any(arrays[mode].shape != (inside.sum(), width) for mode in MODES):
            raise BadInput(
                f"{path}: holds {len(arrays[MODES[0]])} items, not the "
                f"{inside.sum()} of this recipe and its data; remove it to train the fold anew"
            )
        for mode in MODES:
            scores[mode][inside] = arrays[mode]
        shifts[inside] = arrays["shift"]
    return _split_tasks(examples, label_sets, scores, shifts, numbers, list(files))


def _train_fold(
    recipe: TrainRecipe,
    fold: int,
    training: Sequence[Example],
    held_out: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> Arrays:
    start, cpu_start = time.perf_counter(), time.process_time()
    run_folder = recipe.work / f"fold-{fold}"
    model = fit(recipe, training, label_sets, tokenizer, run_folder=run_folder, support=support)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    scores = score_held_out(recipe, model, training, held_out, label_sets, tokenizer, support)
    return scores | {"seconds": np.array(seconds), "cpu_seconds": np.array(cpu_seconds)}


def score_held_out(
    recipe: TrainRecipe,
    model: PreTrainedModel,
    training: Sequence[Example],
    held_out: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
    support: Support,
) -> Arrays:
    """What `fold_file` holds but for the seconds, of examples that the model never saw."""
    encoder = build_encoder(tokenizer, recipe.prompt, label_sets)
    features = predict_features(model, encoder.encode(held_out), tokenizer.pad_token_id)
    head = read_head(model).numpy()  # (rows, hidden)
    retrospective = features @ head.T
    live = retrospective.copy()
    stripped = [each._replace(item=strip_following(each.item)) for each in held_out]
    turns = [i for i, each in enumerate(stripped) if each != held_out[i]]
    if turns:
        prompts = encoder.encode([stripped[i] for i in turns])
        live[turns] = predict_scores(model, prompts, tokenizer.pad_token_id)
    drawn = gather(recipe, training, support, label_sets, tokenizer).labelled
    return {
        "retrospective": retrospective,
        "live": live,
        "shift": prior_shift(recipe, drawn, label_sets),
        "points": features @ np.linalg.qr(head.T).Q,
    }


def _split_tasks(
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    scores: dict[str, NDArray[np.float32]],
    shifts: NDArray[np.float32],
    numbers: NDArray[np.int64],
    chosen: Sequence[int],
) -> dict[str, dict[str, HeldOut]]:
    scored = np.isin(numbers, chosen)
    rows = assign_rows(label_sets)
    result: dict[str, dict[str, HeldOut]] = {}
    for label_set in label_sets:
        own = [i for i, e in enumerate(examples) if e.task == label_set.task and scored[i]]
        places = np.array(own)
        labels = np.array([examples[i].label for i in own])
        cells = np.ix_(places, np.array(rows[label_set.task]))
        result[label_set.task] = {
            mode: HeldOut(
                scores[mode][cells] - shifts[cells], labels, numbers[places], places,
                scores[mode][cells],
            )
            for mode in list_modes(label_set)
        }  # fmt: skip
    return result
