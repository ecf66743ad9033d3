"""The bar to beat: character n-grams and logistic regression, on the very same folds."""

import numpy as np

from training.data.examples import measure_prior, read_examples, read_label_sets
from training.evaluation.crossvalidate import split_folds
from training.models.ngrams import NgramClassifier
from training.recipe.recipe import TrainRecipe
from training.statistics.conformal import cross_fit


def measure_baseline(recipe: TrainRecipe) -> dict[str, float]:
    """Print and return the cross-validated macro recall of the n-gram classifier for each task.

    Context counts as text of its own; answers are those under the uniform prior, calibrated as
    a checkpoint's are: by biases that other items set.
    """
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    numbers = split_folds(examples, recipe.evaluation.folds, recipe.evaluation.seed)
    results = {}
    for task in dict.fromkeys(example.task for example in examples):
        places = np.array([i for i, example in enumerate(examples) if example.task == task])
        labels = np.array([examples[i].label for i in places])
        logits = np.empty((len(places), len(label_sets[task].labels)))
        for fold in range(recipe.evaluation.folds):
            held_out = numbers[places] == fold
            model = NgramClassifier(
                [examples[i].item for i in places[~held_out]],
                labels[~held_out],
                logits.shape[1],
            )
            logits[held_out] = model.predict_logits([examples[i].item for i in places[held_out]])
        prior = np.array(measure_prior(examples, label_sets[task]))
        figures = cross_fit(logits, labels, prior, folds=recipe.evaluation.folds)
        raw, results[task] = (figures[key]["macro_recall"] for key in ("before", "after"))
        print(f"{task}: macro recall {results[task]:.4f}, without biases {raw:.4f}", flush=True)
    return results
