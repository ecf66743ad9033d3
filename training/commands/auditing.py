"""`ncal audit`: which labels look wrong."""

import argparse
from argparse import Namespace
from pathlib import Path

from training.commands.options import OVERRIDES, add_columns, name_columns
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe


def add_audit(command: argparse.ArgumentParser) -> None:
    """What `ncal audit` is asked."""
    command.add_argument(
        "table",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a table (CSV, TSV, XLSX, Parquet, JSON) with a text and a label in each row: n-grams "
        "judge each from rows of other texts",
    )
    command.add_argument(
        "--recipe", type=Path, metavar="FILE", help="the sources of a recipe, in place of FILE"
    )
    command.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="the `work` of a finished training, in place of FILE: its kept folds judge",
    )
    add_columns(command)
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the rows to look at: .csv, .xlsx, .jsonl, … (NAME.audit.csv)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    command.add_argument(
        "--answers",
        metavar="PREFIX",
        help="judge by what `ncal label` wrote in FILE, in columns of this prefix (ncal_): only if "
        "its model was not trained on these labels",
    )
    command.add_argument(
        "--plant",
        type=float,
        metavar="SHARE",
        help="then also plant so many wrong labels (0.05) and say how many of them are found",
    )
    command.add_argument("--seeds", default="0", metavar="0,1,…", help="seeds of planting (0)")
    command.epilog = f"With --recipe, {OVERRIDES}."
    command.set_defaults(overrides=[])


def run_audit(options: Namespace) -> None:
    """List the labels that look wrong; BadInput for options that do not go together."""
    from training.audit.audit import Planting, Writing, audit_recipe, audit_table, audit_work

    given = [options.table, options.recipe, options.work]
    if sum(each is not None for each in given) != 1:
        raise BadInput("give a table of your own, --recipe or --work: one of them")
    if options.overrides and options.recipe is None:
        raise BadInput(f"{options.overrides[0]}: overrides a value of a recipe; name --recipe")
    if options.answers is not None and options.table is None:
        raise BadInput("--answers: stand in a table that `ncal label` wrote; name it")
    writing, planting = Writing(options.output, options.overwrite), None
    if options.plant is not None:
        if options.work is not None or options.answers is not None:
            raise BadInput(
                "--plant: needs models that learn the planted labels; give a table alone"
            )
        if not 0.0 < options.plant < 0.5:
            raise BadInput(f"--plant {options.plant}: must lie between 0 and 0.5, as 0.05 does")
        planting = Planting(options.plant, _read_seeds(options.seeds))
    if options.work is not None:
        audit_work(options.work, writing)
    elif options.recipe is not None:
        audit_recipe(TrainRecipe.read(options.recipe, options.overrides), writing, planting)
    else:
        audit_table(options.table, name_columns(options), writing, planting, options.answers)


def _read_seeds(spelled: str) -> list[int]:
    try:
        return [int(each) for each in spelled.split(",")]
    except ValueError:
        raise BadInput(f"--seeds {spelled}: must be whole numbers, as in 0,1,2") from None
