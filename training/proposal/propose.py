"""`ncal train FILE`: looks at a table and writes the label set and the recipe to train from."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from contract.inputs import Kind
from training.data.examples import UNLABELLED, Example, read_label_set
from training.data.own_tables import open_own_table, read_own_table
from training.errors import BadInput
from training.evaluation.folds import deal_examples
from training.proposal.label_set import infer_label_set, write_label_set
from training.proposal.machine import look_at_machine
from training.proposal.recipe import propose_recipe
from training.recipe.recipe import ColumnNames, LabelledFile, TrainRecipe

BUILD = Path("build")


def propose(
    table: Path,
    *,
    name: str,
    columns: ColumnNames,
    backbone: str | None = None,
    build: Path = BUILD,
) -> Path:
    """Write `build/NAME/label-set.yaml` and `recipe.yaml`; return the recipe's path.

    A label set that is there is kept: somebody may have filled it in. Prints what was
    recognised. Raises BadInput for a table that cannot be trained on, and for a recipe that is
    there and says otherwise.
    """
    source = LabelledFile(path=table.resolve(), format="table", task=name, columns=columns)
    own = open_own_table(source)
    found = own.columns
    kind: Kind = "problem" if found.kind == "problems" else "dialogue-turn"
    records = list(read_own_table(own, kind))
    labels = [record.data_label or "" for record in records]
    folder = build / name
    folder.mkdir(parents=True, exist_ok=True)
    label_file = folder / "label-set.yaml"
    if not label_file.exists():
        write_label_set(infer_label_set(name, kind, labels, str(table)), label_file)
    label_set = read_label_set(label_file)
    counts = Counter(labels)
    recipe = propose_recipe(
        name=name,
        table=source.path,
        columns={key: getattr(found, key) for key in ("text", "label", "speaker", "dialogue")},
        label_set=label_file.resolve(),
        folder=folder.resolve(),
        output=(build / "checkpoints" / name).resolve(),
        examples=len(labels),
        smallest=min(counts[label.data_label] for label in label_set.labels),
        backbone=backbone,
        machine=look_at_machine(),
    )
    indices = label_set.index_by_data_label()
    recipe = _choose_folds(
        recipe,
        [
            Example(record.id, name, record.item, indices.get(label, UNLABELLED))
            for record, label in zip(records, labels, strict=True)
        ],
    )
    _write(recipe, folder / "recipe.yaml")
    what = "problems" if kind == "problem" else "turns"
    print(
        f"{table}: {len(labels):,} {what}, text in column {found.text!r}, label in "
        f"{found.label!r}" + (f", speaker in {found.speaker!r}" if found.speaker else "")
    )
    print("labels: " + ", ".join(f"{label} {count:,}" for label, count in counts.most_common()))
    print(
        f"label set {label_file} (fill in names and definitions), recipe {folder / 'recipe.yaml'}"
    )
    return folder / "recipe.yaml"


def _choose_folds(recipe: TrainRecipe, examples: Sequence[Example]) -> TrainRecipe:
    """The recipe, with folds dealt at random where a few dialogues leave no other way."""
    if min(Counter(example.label for example in examples).values()) < recipe.evaluation.folds:
        return recipe  # refused when it runs, with what to do
    try:
        deal_examples(recipe, examples)
    except BadInput:
        print(
            "a label stands in one dialogue, or in texts that are alike, and nowhere else: folds "
            "are dealt at random (evaluation.grouped: false), and what they measure flatters"
        )
        evaluation = recipe.evaluation.model_copy(update={"grouped": False})
        return recipe.model_copy(update={"evaluation": evaluation})
    return recipe


def _write(recipe: TrainRecipe, path: Path) -> None:
    """The same recipe may be there: the command goes on with its run."""
    if path.exists() and TrainRecipe.read(path) != recipe:
        raise BadInput(
            f"{path}: is there and says otherwise; train from it with `ncal train --recipe "
            f"{path}`, remove it, or choose another --name"
        )
    recipe.write(path)
