"""The parser: which commands there are, and how overrides stand behind their options."""

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from training.commands.auditing import add_audit, run_audit
from training.commands.finished import (
    add_behaviour,
    add_calibrate,
    add_evaluate,
    run_behaviour,
    run_calibrate,
    run_evaluate,
)
from training.commands.making import add_export, add_train, run_export, run_pretrain, run_train
from training.commands.measuring import (
    add_ablate,
    add_crossvalidate,
    run_ablate,
    run_baseline,
    run_crossvalidate,
    run_mixes,
    run_report,
)
from training.commands.options import add_recipe
from training.summaries import SUMMARIES


def parse_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """Give the parser its commands and parse; `run` of the options runs the chosen one."""
    _add_commands(parser)
    # What is left are overrides, which argparse cannot collect from between the options.
    options, rest = parser.parse_known_args(arguments)
    table = getattr(options, "table", None)
    if table is not None and _is_override(table, options.recipe):
        rest.insert(0, str(table))
        options.table = None
    if rest and (options.overrides is None or any(each.startswith("-") for each in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides = rest
    return options


def _is_override(word: Path, recipe: Path | None) -> bool:
    """Whether what argparse took for the table stands behind the options for an override."""
    if recipe is not None:
        return not word.suffix or "=" in str(word)
    return "=" in str(word) and not word.exists()


def _add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Namespace], None]) -> argparse.ArgumentParser:
        summary = SUMMARIES[name]
        command = commands.add_parser(name, help=summary, description=f"{summary}.")
        command.set_defaults(run=run, overrides=None)
        return command

    add_train(add("train", run_train))
    add_audit(add("audit", run_audit))
    add_evaluate(add("evaluate", run_evaluate))
    add_behaviour(add("behaviour", run_behaviour))
    add_calibrate(add("calibrate", run_calibrate))
    add_export(add("export", run_export))
    add_crossvalidate(add("crossvalidate", run_crossvalidate))
    add_recipe(add("report", run_report))
    add_recipe(add("baseline", run_baseline), check=True)
    add_recipe(add("mixes", run_mixes), check=True)
    add_ablate(add("ablate", run_ablate))
    add_recipe(add("pretrain", run_pretrain), check=True)
