"""The bar to beat: character n-grams and logistic regression, on the very same folds."""

from collections.abc import Iterable

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import Pipeline, make_pipeline

from contract.inputs import AnyInput, DialogueTurn, Turn
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
        fields = np.array([_split_fields(examples[i].item) for i in places], dtype=object)
        labels = np.array([examples[i].label for i in places])
        predicted = np.empty_like(labels)
        for fold in range(recipe.evaluation.folds):
            held_out = numbers[places] == fold
            model = _build_model([i for i in range(fields.shape[1]) if any(fields[~held_out, i])])
            model.fit(fields[~held_out], labels[~held_out])
            predicted[held_out] = model.predict(fields[held_out])
        results[task] = float(recall_score(labels, predicted, average="macro"))
        print(f"{task}: macro recall {results[task]:.4f}", flush=True)
    return results


def _build_model(columns: list[int]) -> Pipeline:
    """The target and each side of the context have a vocabulary of their own."""
    vectorizers = [
        (str(column), TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True,
                                      min_df=2), column)
        for column in columns
    ]  # fmt: skip
    return make_pipeline(
        ColumnTransformer(vectorizers),
        LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000),
    )


def _split_fields(item: AnyInput) -> tuple[str, str, str]:
    """Target (a turn with its speaker), what was said before it, and after it."""
    if not isinstance(item, DialogueTurn):
        return item.text, "", ""

    def join(turns: Iterable[Turn]) -> str:
        return "".join(f"{turn.speaker[0]}:{turn.text}" for turn in turns)

    return join([item]), join(item.previous), join(item.following)
