"""The bar to beat: character n-grams and logistic regression, on the very same folds."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline

from contract.inputs import AnyInput, DialogueTurn
from training.crossvalidate import split_folds
from training.data import read_examples, read_label_sets
from training.recipe import TrainRecipe


def measure_baseline(recipe: TrainRecipe) -> dict[str, float]:
    """Print and return the cross-validated macro recall of TF-IDF with balanced logistic
    regression (characters, 1 to 4, C=1) for each task; context counts as text of its own."""
    examples = read_examples(
        recipe.sources, read_label_sets(recipe.label_sets), folds=recipe.evaluation.folds
    )
    numbers = split_folds(examples, recipe.evaluation.folds, recipe.evaluation.seed)
    results = {}
    for task in dict.fromkeys(example.task for example in examples):
        places = [i for i, example in enumerate(examples) if example.task == task]
        texts = np.array([_flatten(examples[i].item) for i in places], dtype=object)
        labels = np.array([examples[i].label for i in places])
        predicted = np.empty_like(labels)
        for fold in range(recipe.evaluation.folds):
            held_out = numbers[places] == fold
            model = make_pipeline(
                TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2),
                LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000),
            )
            model.fit(texts[~held_out], labels[~held_out])
            predicted[held_out] = model.predict(texts[held_out])
        results[task] = float(recall_score(labels, predicted, average="macro"))
        print(f"{task}: macro recall {results[task]:.4f}", flush=True)
    return results


def _flatten(item: AnyInput) -> str:
    """The target alone for a problem; for a turn its speaker, then its neighbours, marked."""
    if not isinstance(item, DialogueTurn):
        return item.text
    before = "".join(f"<{turn.speaker[0]}" + turn.text for turn in item.previous[-1:])
    after = "".join(f">{turn.speaker[0]}" + turn.text for turn in item.following[:1])
    return f"{item.speaker[0]}:{item.text}{before}{after}"
