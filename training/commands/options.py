"""Options that several commands share, and what is made of them."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import get_args

from training.recipe.recipe import ColumnNames, SourceRecipe, TrainRecipe

_FORMATS = get_args(SourceRecipe.model_fields["format"].annotation)
OVERRIDES = "key.path=value after the options overrides a value of the recipe"


def add_recipe(command: argparse.ArgumentParser, *, check: bool = False) -> None:
    """A recipe, overrides of its values, and with `check` the look before a run."""
    command.add_argument(
        "--recipe", type=Path, required=True, metavar="FILE", help="YAML file with every choice"
    )
    if check:
        command.add_argument(
            "--check",
            action="store_true",
            help="check recipe and data, load no weights, train nothing",
        )
    command.epilog = f"{OVERRIDES}, for instance optimisation.seed=1."
    command.set_defaults(overrides=[])


def add_columns(command: argparse.ArgumentParser) -> None:
    """Which column of a table of one's own is what."""
    for column, what in (
        ("text", "what is labelled"),
        ("label", "what people said"),
        ("speaker", "who speaks: then rows are turns of dialogues"),
        ("dialogue", "what tells one dialogue from another"),
    ):
        command.add_argument(
            f"--{column}", metavar="COLUMN", help=f"{what} (recognised by its name)"
        )


def name_columns(options: Namespace) -> ColumnNames:
    """What the options of `add_columns` say."""
    return ColumnNames(
        text=options.text,
        label=options.label,
        speaker=options.speaker,
        dialogue=options.dialogue,
    )


def add_labelled(command: argparse.ArgumentParser) -> None:
    """A checkpoint, and labelled files for one of its tasks."""
    command.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="what `train` wrote"
    )
    command.add_argument(
        "--data", type=Path, required=True, nargs="+", metavar="FILE", help="labelled examples"
    )
    command.add_argument(
        "--format", required=True, choices=_FORMATS, help="how the files spell them"
    )
    command.add_argument("--task", required=True, help="task of the checkpoint they belong to")


def check(options: Namespace, recipe: TrainRecipe) -> None:
    """Read all that a run would read, but for weights; BadInput for what a person must mend."""
    from training.checkpoints.work_folder import check_work
    from training.data.support import read_support
    from training.evaluation.folds import deal_examples
    from training.evaluation.preparation import prepare
    from training.fitting.tracking import check_trackers

    check_trackers(recipe)
    _, examples, _ = prepare(recipe)
    if recipe.measured_on != "dev":
        deal_examples(recipe, examples)
    read_support(recipe)
    check_work(recipe)
    print(f"{options.recipe}: in order, {len(examples):,} examples")
