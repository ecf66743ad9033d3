"""`ncal train FILE`: looks at data and writes the label set and the recipe to train from."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training.data.examples import UNLABELLED, Example, read_label_set
from training.errors import BadInput
from training.evaluation.folds import deal_examples
from training.proposal.label_set import infer_label_set, write_label_set
from training.proposal.language import guess_language
from training.proposal.machine import look_at_machine
from training.proposal.recipe import propose_recipe
from training.proposal.sources import Sources, describe, find_sources
from training.recipe.recipe import CardRecipe, ColumnNames, TrainRecipe

BUILD = Path("build")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def propose(
    data: str,
    *,
    name: str | None,
    columns: ColumnNames,
    backbone: str | None = None,
    dev: Path | None = None,
    test: Path | None = None,
    build: Path = BUILD,
) -> Path:
    """Write `build/NAME/label-set.yaml` and `recipe.yaml`; return the recipe's path.

    `data` is a file or the id of a data set on the hub. A label set that is there is kept:
    somebody may have filled it in. Prints what was recognised. Raises BadInput for data that
    cannot be trained on, and for a recipe that is there and says otherwise.
    """
    name = _choose_name(name, data)
    folder = build / name
    sources = find_sources(
        data, task=name, columns=columns, dev=dev, test=test, folder=folder / "data"
    )
    labels = [record.data_label or "" for record in sources.records]
    texts = [record.item.text for record in sources.records]
    folder.mkdir(parents=True, exist_ok=True)
    label_file = folder / "label-set.yaml"
    if not label_file.exists():
        label_set = infer_label_set(
            name, sources.kind, labels, data, texts=texts, names=sources.class_names
        )
        write_label_set(label_set, label_file)
    label_set = read_label_set(label_file)
    counts = Counter(labels)
    recipe = propose_recipe(
        name=name,
        sources=sources,
        label_set=label_file.resolve(),
        folder=folder.resolve(),
        output=(build / "checkpoints" / name).resolve(),
        smallest=min(counts[label.data_label] for label in label_set.labels),
        backbone=backbone,
        machine=look_at_machine(),
        card=_describe_data(sources, texts),
    )
    indices = label_set.index_by_data_label()
    recipe = _choose_folds(
        recipe,
        [
            Example(record.id, name, record.item, indices.get(label, UNLABELLED))
            for record, label in zip(sources.records, labels, strict=True)
        ],
    )
    _write(recipe, folder / "recipe.yaml")
    for line in describe(sources, data):
        print(line)
    print("labels: " + ", ".join(f"{label} {count:,}" for label, count in counts.most_common()))
    print(
        f"label set {label_file} (fill in names and definitions), recipe {folder / 'recipe.yaml'}"
    )
    return folder / "recipe.yaml"


def _choose_name(name: str | None, data: str) -> str:
    """The name that was given, or the data's own in letters that a task may have."""
    if name is None:
        words = re.sub(r"[^A-Za-z0-9_]+", "-", Path(data).stem).strip("-_")[:48]
        return words if words[:1].isalpha() else f"model-{words}".rstrip("-")
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--name {name}: a name has letters, digits, - and _, and begins with a letter"
        )
    return name


def _describe_data(sources: Sources, texts: Sequence[str]) -> CardRecipe:
    """What can be known of a stranger's data; the rest is filled in by hand."""
    use = "fine-tuning" if sources.dev or sources.test else "fine-tuning, cross-validation"
    licence = sources.licence or "unknown"
    language = guess_language(texts)
    return CardRecipe(
        licence="unknown",
        languages=[language] if language else [],
        command="ncal train --recipe recipe.yaml",
        data=[(sources.origin, licence, use)],
    )


def _choose_folds(recipe: TrainRecipe, examples: Sequence[Example]) -> TrainRecipe:
    """The recipe, with folds dealt at random where a few dialogues leave no other way."""
    smallest = min(Counter(example.label for example in examples).values())
    if recipe.dev or smallest < recipe.evaluation.folds:
        return recipe  # not needed, or refused when it runs, with what to do
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
