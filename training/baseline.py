"""The bar to beat: character n-grams and logistic regression, on the very same folds."""

import numpy as np
from sklearn.metrics import recall_score

from training.crossvalidate import split_folds
from training.data import read_examples, read_label_sets
from training.ngrams import NgramClassifier
from training.recipe import TrainRecipe


def measure_baseline(recipe: TrainRecipe) -> dict[str, float]:
    """Print and return the cross-validated macro recall of the n-gram classifier for each task.

    Context counts as text of its own; answers are those under the uniform prior.
    """
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    numbers = split_folds(examples, recipe.evaluation.folds, recipe.evaluation.seed)
    results = {}
    for task in dict.fromkeys(example.task for example in examples):
        places = np.array([i for i, example in enumerate(examples) if example.task == task])
        labels = np.array([examples[i].label for i in places])
        predicted = np.empty_like(labels)
        for fold in range(recipe.evaluation.folds):
            held_out = numbers[places] == fold
            model = NgramClassifier(
                [examples[i].item for i in places[~held_out]],
                labels[~held_out],
                len(label_sets[task].labels),
            )
            logits = model.predict_logits([examples[i].item for i in places[held_out]])
            predicted[held_out] = logits.argmax(axis=1)
        results[task] = float(recall_score(labels, predicted, average="macro"))
        print(f"{task}: macro recall {results[task]:.4f}", flush=True)
    return results
