"""The rows whose labels are judged: of a table, or of the sources of a recipe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from contract.inputs import Kind
from contract.labels import LabelSet
from training.data.examples import Example, read_examples, read_label_sets
from training.data.groups import group_examples
from training.data.own_tables import OwnTable, open_own_table, read_own_table
from training.errors import BadInput
from training.evaluation.folds import deal_examples
from training.proposal.label_set import check_labels
from training.recipe.recipe import ColumnNames, LabelledFile, TrainRecipe
from training.statistics.probabilities import Ints

FOLDS = 5


class Rows(NamedTuple):
    """The labelled rows of one task."""

    task: str
    names: Sequence[str]
    """The labels, as the file spells them."""
    examples: Sequence[Example]
    groups: Ints
    """(n,): what shares text, and so is held out together."""
    folds: Ints
    """(n,): the fold that holds a row out."""

    @property
    def labels(self) -> Ints:
        """(n,): places among the names."""
        return np.array([example.label for example in self.examples], dtype=np.int64)


def read_table_rows(table: Path, columns: ColumnNames) -> tuple[OwnTable, Rows]:
    """The rows of a table in grouped folds; its labels are those that stand in it.

    BadInput for a table that cannot be read, values that are no labels, or too few other texts.
    """
    source = LabelledFile(path=table, format="table", task=table.stem, columns=columns)
    own = open_own_table(source)
    kind: Kind = "problem" if own.columns.kind == "problems" else "dialogue-turn"
    records = list(read_own_table(own, kind))
    counts = Counter(record.data_label or "" for record in records)
    check_labels(counts, str(table))
    names = [name for name, _ in counts.most_common()]
    places = {name: place for place, name in enumerate(names)}
    examples = [
        Example(
            record.id, table.stem, record.item, places[record.data_label or ""], table.name,
            record.line,
        )
        for record in records
    ]  # fmt: skip
    groups = group_examples(examples)
    labels = [example.label for example in examples]
    if len(np.unique(groups)) < FOLDS:
        raise BadInput(
            f"{table}: its rows are {len(np.unique(groups))} groups that share text, fewer than "
            f"{FOLDS} folds; labels can only be judged from other texts: add some"
        )
    folds = _deal_folds(np.array(labels), groups)
    return own, Rows(table.stem, names, examples, groups, folds)


def _deal_folds(labels: Ints, groups: Ints) -> Ints:
    """Grouped folds (n,), stratified by the labels that are frequent enough for it."""
    strata = np.where(np.bincount(labels)[labels] >= FOLDS, labels, 0)
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(splitter.split(strata, strata, groups)):
        folds[held_out] = number
    return folds


def read_recipe_rows(recipe: TrainRecipe) -> list[Rows]:
    """The rows of a recipe's sources, in its folds, by task."""
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    return split_tasks(examples, label_sets, deal_examples(recipe, examples))


def split_tasks(
    examples: Sequence[Example], label_sets: Mapping[str, LabelSet], folds: Ints
) -> list[Rows]:
    """The rows of each task, in the order of the tasks; `folds` (n,) are of all examples."""
    groups = group_examples(examples)
    parts = []
    for task in dict.fromkeys(example.task for example in examples):
        places = [place for place, example in enumerate(examples) if example.task == task]
        names = [label.data_label for label in label_sets[task].labels]
        own = [examples[place] for place in places]
        parts.append(Rows(task, names, own, groups[places], folds[places]))
    return parts
