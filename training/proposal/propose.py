"""`ncal train FILE`: looks at a table and writes the label set and the recipe to train from."""

from collections import Counter
from pathlib import Path

from contract.inputs import Kind
from training.data.own_tables import open_own_table, read_table
from training.errors import BadInput
from training.proposal.label_set import infer_label_set, read_label_set, write_label_set
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
    found = open_own_table(source).columns
    kind: Kind = "problem" if found.kind == "problems" else "dialogue-turn"
    labels = [record.data_label or "" for record in read_table(source, kind)]
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


def _write(recipe: TrainRecipe, path: Path) -> None:
    """The same recipe may be there: the command goes on with its run."""
    if path.exists() and TrainRecipe.read(path) != recipe:
        raise BadInput(
            f"{path}: is there and says otherwise; train from it with `ncal train --recipe "
            f"{path}`, remove it, or choose another --name"
        )
    recipe.write(path)
