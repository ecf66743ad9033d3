"""What measures a recipe on its folds: `ncal crossvalidate`, `report`, `ablate`, n-grams, mixes."""

import argparse
from argparse import Namespace
from pathlib import Path

from training.commands.options import add_recipe, check
from training.recipe.recipe import TrainRecipe


def add_crossvalidate(command: argparse.ArgumentParser) -> None:
    """What `ncal crossvalidate` is asked."""
    add_recipe(command, check=True)
    command.add_argument(
        "--fold",
        type=int,
        action="append",
        metavar="N",
        help="only train this fold (from 0; may be repeated) and keep it: for several processes "
        "or machines on one `work`; the command without it then measures",
    )


def run_crossvalidate(options: Namespace) -> None:
    """Measure a recipe, or train some of its folds."""
    from training.evaluation.crossvalidate import train_folds
    from training.evaluation.cv_evaluation import evaluate, summarize
    from training.evaluation.preparation import prepare

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        check(options, recipe)
        return
    if options.fold:
        label_sets, examples, tokenizer = prepare(recipe)
        train_folds(recipe, examples, label_sets, tokenizer, folds=options.fold)
        return
    _, evaluation = evaluate(recipe, *prepare(recipe))
    for task, modes in evaluation.items():
        print(summarize(task, modes))


def run_report(options: Namespace) -> None:
    """Write the report again from kept folds."""
    from training.evaluation.cv_evaluation import report, summarize
    from training.evaluation.preparation import prepare
    from training.train import rewrite_card

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    label_sets, examples, _ = prepare(recipe)
    _, evaluation = report(recipe, label_sets, examples)
    for task, modes in evaluation.items():
        print(summarize(task, modes))
    print(f"report {recipe.work / 'report'}")
    if rewrite_card(recipe):
        print(f"model card {recipe.output / 'README.md'}")


def run_baseline(options: Namespace) -> None:
    """Measure the n-grams on the folds of a recipe."""
    from training.evaluation.baseline import measure_baseline

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        check(options, recipe)
        return
    measure_baseline(recipe)


def run_mixes(options: Namespace) -> None:
    """Simulate class mixes."""
    from training.evaluation.mixes import measure_mixes

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        check(options, recipe)
        return
    print(measure_mixes(recipe))


def add_ablate(command: argparse.ArgumentParser) -> None:
    """What `ncal ablate` is asked."""
    add_recipe(command, check=True)
    command.add_argument(
        "--presets",
        required=True,
        metavar="A,B,…",
        help="settings to compare: a preset, changed as in logit-adjusted+loss.tau=0.5 if need be",
    )
    command.add_argument("--seeds", default="0,1,2", metavar="0,1,…", help="seeds of training")
    command.add_argument("--folds", type=int, help="parts of the cross-validation (the recipe's)")
    command.add_argument(
        "--results", type=Path, metavar="FILE", help="the tables (WORK/results.md by default)"
    )
    command.add_argument(
        "--beside",
        type=Path,
        metavar="DIR",
        help="a checkpoint whose own evaluation is stated above the comparison",
    )


def run_ablate(options: Namespace) -> None:
    """Compare settings over seeds."""
    from training.evaluation.ablation_grid import Grid, ablate, check_grid

    grid = Grid.read(
        options.recipe,
        options.overrides,
        presets=options.presets.split(","),
        seeds=options.seeds.split(","),
        folds=options.folds,
    )
    if options.check:
        check_grid(grid)
        print(f"{options.recipe}: in order, {len(grid.cells)} cells")
        return
    results = options.results or grid.base.work / "results.md"
    ablate(grid, results, beside=options.beside)
    print(f"results {results}")
