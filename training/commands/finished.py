"""What is done with a finished checkpoint: `ncal evaluate`, `behaviour` and `calibrate`."""

import argparse
from argparse import Namespace
from pathlib import Path

from training.commands.options import add_labelled


def add_evaluate(command: argparse.ArgumentParser) -> None:
    """What `ncal evaluate` is asked."""
    add_labelled(command)
    command.add_argument(
        "--train",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="training files of the same format: items whose text recurs there are also left out",
    )
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="write JSON, Markdown and PNG into this folder"
    )


def run_evaluate(options: Namespace) -> None:
    """Measure a checkpoint on labelled files."""
    from training.evaluation.evaluate_checkpoint import evaluate_checkpoint

    evaluate_checkpoint(
        options.checkpoint,
        options.data,
        format=options.format,
        task=options.task,
        training=options.train,
        output=options.output,
    )


def add_behaviour(command: argparse.ArgumentParser) -> None:
    """What `ncal behaviour` is asked."""
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="what `train` wrote")
    command.add_argument(
        "--tests",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON lines in the form of training/written/behaviour (those)",
    )
    command.add_argument("--failures", action="store_true", help="list each test that fails")


def run_behaviour(options: Namespace) -> None:
    """Put a checkpoint to the behavioural tests."""
    from training.evaluation.behaviour import measure_behaviour

    print(measure_behaviour(options.checkpoint, options.tests, failures=options.failures))


def add_calibrate(command: argparse.ArgumentParser) -> None:
    """What `ncal calibrate` is asked."""
    add_labelled(command)
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the new checkpoint"
    )
    command.add_argument(
        "--coverage", type=float, help="aim of the prediction sets (the checkpoint's own)"
    )
    command.add_argument(
        "--folds", type=int, default=5, help="parts for measuring by cross-fitting (5)"
    )
    command.add_argument(
        "--prior", action="store_true", help="state these data's class mix as the training prior"
    )


def run_calibrate(options: Namespace) -> None:
    """Calibrate a checkpoint anew on labelled files."""
    from training.evaluation.recalibrate import calibrate_checkpoint

    calibrate_checkpoint(
        options.checkpoint,
        options.data,
        format=options.format,
        task=options.task,
        output=options.output,
        coverage=options.coverage,
        folds=options.folds,
        replace_prior=options.prior,
    )
