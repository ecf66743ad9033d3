"""Stratified k-fold cross-validation: scores for every example by a model that never saw it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from transformers import PreTrainedTokenizerBase

from contract.labels import LabelSet
from training.batches import build_encoder
from training.data import Example, measure_prior, strip_following
from training.fit import fit, predict_scores
from training.model import assign_rows
from training.recipe import TrainRecipe

MODES = ("retrospective", "live")
PRIOR_BOUND = {"cross-entropy", "focal"}
"""Losses whose logits answer for the class mix of the training data, not for a uniform one."""


class HeldOut(NamedTuple):
    """Out-of-fold logits (n, K) of one task in one mode, raw, and the true labels (n,).

    `folds` (n,) names the fold in which the item was held out, `places` (n,) its position
    among all examples.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    places: NDArray[np.int64]


def split_folds(examples: Sequence[Example], folds: int, seed: int) -> NDArray[np.int64]:
    """Number of the fold of each example, shape (n,); stratified by task and class."""
    strata = [f"{example.task}/{example.label}" for example in examples]
    numbers = np.empty(len(examples), dtype=np.int64)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(examples)), strata)):
        numbers[held_out] = number
    return numbers


def crossvalidate(
    recipe: TrainRecipe,
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, dict[str, HeldOut]]:
    """Train once a fold; return task → mode → held-out logits.

    Finished folds are kept in `recipe.work`, so a run that was broken off goes on with
    the next one. Problems know one mode only, `retrospective`.
    """
    numbers = split_folds(examples, recipe.evaluation.folds, recipe.evaluation.seed)
    width = sum(len(labels.labels) for labels in label_sets)
    scores = {mode: np.empty((len(examples), width), dtype=np.float32) for mode in MODES}
    encoder = build_encoder(tokenizer, recipe.prompt)
    for fold in range(recipe.evaluation.folds):
        held_out = np.flatnonzero(numbers == fold)
        kept = recipe.work / f"fold-{fold}.npz"
        if not kept.exists():
            print(f"fold {fold + 1} of {recipe.evaluation.folds}", flush=True)
            training = [examples[i] for i in np.flatnonzero(numbers != fold)]
            run_folder = recipe.work / f"fold-{fold}"
            model = fit(recipe, training, label_sets, tokenizer, run_folder=run_folder)
            items = [examples[i].item for i in held_out]
            seen = {"retrospective": items, "live": [strip_following(item) for item in items]}
            fold_scores = {
                mode: predict_scores(model, encoder.encode(seen[mode]), tokenizer.pad_token_id)
                for mode in MODES
            }
            if recipe.loss.name in PRIOR_BOUND:
                shift = _log_priors(training, label_sets)
                fold_scores = {mode: each - shift for mode, each in fold_scores.items()}
            _save(kept, fold_scores)
        with np.load(kept) as arrays:
            for mode in MODES:
                scores[mode][held_out] = arrays[mode]
    return _split_tasks(examples, label_sets, scores, numbers)


def _log_priors(training: Sequence[Example], label_sets: Sequence[LabelSet]) -> NDArray[np.float32]:
    """What to subtract from all scores (rows,) so that each head answers for a uniform prior."""
    shares = [share for labels in label_sets for share in measure_prior(training, labels)]
    return np.log(np.array(shares, dtype=np.float32))


def _split_tasks(
    examples: Sequence[Example],
    label_sets: Sequence[LabelSet],
    scores: dict[str, NDArray[np.float32]],
    numbers: NDArray[np.int64],
) -> dict[str, dict[str, HeldOut]]:
    rows = assign_rows(label_sets)
    result: dict[str, dict[str, HeldOut]] = {}
    for label_set in label_sets:
        places = np.array([i for i, e in enumerate(examples) if e.task == label_set.task])
        labels = np.array([examples[i].label for i in places])
        modes = MODES if label_set.kind == "dialogue-turn" else MODES[:1]
        result[label_set.task] = {
            mode: HeldOut(
                scores[mode][places][:, rows[label_set.task]], labels, numbers[places], places
            )
            for mode in modes
        }
    return result


def _save(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    """Write whole or not at all: a fold that exists is a finished fold."""
    temporary = path.with_name(path.stem + ".partial.npz")
    np.savez(temporary, allow_pickle=False, **arrays)
    temporary.replace(path)
