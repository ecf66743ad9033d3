"""What makes a model: `ncal train`, `export` and `pretrain`."""

import argparse
from argparse import Namespace
from pathlib import Path

from contract.manifest import GRAPH_NAME, Manifest
from training.commands.options import OVERRIDES, add_columns, check, name_columns
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe


def add_train(command: argparse.ArgumentParser) -> None:
    """What `ncal train` is asked."""
    command.add_argument(
        "table",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a table of your own (CSV, TSV, XLSX, Parquet, JSON) with a text and a label in "
        "each row, or owner/name of a data set on the Hugging Face hub: label set and recipe are "
        "written to build/NAME, and trained from",
    )
    command.add_argument(
        "--recipe", type=Path, metavar="FILE", help="YAML file with every choice, in place of FILE"
    )
    command.add_argument("--name", help="of the model and its task (FILE's own)")
    add_columns(command)
    command.add_argument(
        "--backbone", help="where to start (the bundled model; on a GPU a larger one)"
    )
    command.add_argument(
        "--dev",
        type=Path,
        metavar="FILE",
        help="calibrate and measure on this table, in place of cross-validation",
    )
    command.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="measure the finished checkpoint on this table; without --dev one fold calibrates",
    )
    command.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="upload the checkpoint to the Hugging Face hub, into a repository that is made "
        "private if it is new",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="check recipe and data, load no weights, train nothing",
    )
    command.epilog = f"{OVERRIDES}, for instance optimisation.epochs=5."
    command.set_defaults(overrides=[])


def run_train(options: Namespace) -> None:
    """Train from a recipe, or from the one that is written for a table."""
    from training.checkpoints.push import check_pushable, push
    from training.train import check_exportable, train

    given = options.recipe is not None
    options.recipe = _find_recipe(options)
    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if given:
        recipe = _add_files(recipe, options)
    if options.push_to_hub:
        check_pushable(options.push_to_hub)
    if options.check:
        check_exportable(recipe)
        check(options, recipe)
        return
    _announce(recipe, train(recipe))
    if options.push_to_hub:
        print(f"pushed to {push(recipe.output, options.push_to_hub)}")
    print(f"serve it: ncal serve --checkpoint {recipe.output}")


def _find_recipe(options: Namespace) -> Path:
    """The recipe that is named, or the one that is written for a table."""
    if (options.table is None) == (options.recipe is None):
        raise BadInput("give a table of your own, or --recipe: one of them")
    if options.recipe is not None:
        return Path(options.recipe)
    from training.proposal.propose import propose

    columns = name_columns(options)
    return propose(
        options.table.as_posix(),
        name=options.name,
        columns=columns,
        backbone=options.backbone,
        dev=options.dev,
        test=options.test,
    )


def _add_files(recipe: TrainRecipe, options: Namespace) -> TrainRecipe:
    """The recipe with --dev and --test, tables in the form of its first source."""
    first = recipe.sources[0]
    named = {"dev": options.dev, "test": options.test}
    files = {
        key: [{**first.model_dump(exclude={"imbalance_ratio"}), "path": path}]
        for key, path in named.items()
        if path is not None
    }
    return TrainRecipe.model_validate(recipe.model_dump() | files)


def add_export(command: argparse.ArgumentParser) -> None:
    """What `ncal export` is asked."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--recipe", type=Path, metavar="FILE", help="YAML file with every choice of the run"
    )
    what.add_argument(
        "--onnx-only",
        type=Path,
        metavar="CHECKPOINT",
        help="only add model.onnx, which the embedded engine reads, to a finished checkpoint",
    )
    command.epilog = f"{OVERRIDES}, for instance optimisation.seed=1."
    command.set_defaults(overrides=[])


def run_export(options: Namespace) -> None:
    """Write the checkpoint of a finished run, or only its graph."""
    if options.onnx_only:
        from training.checkpoints.onnx_graph import add_graph

        add_graph(options.onnx_only)
        print(f"graph {options.onnx_only / GRAPH_NAME}")
        return
    from training.train import export

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    _announce(recipe, export(recipe))


def _announce(recipe: TrainRecipe, manifest: Manifest) -> None:
    from training.evaluation.cv_evaluation import summarize

    for task in manifest.tasks:
        print(summarize(task.label_set.task, task.evaluation))
    print(f"checkpoint {recipe.output} ({manifest.fingerprint})")


def run_pretrain(options: Namespace) -> None:
    """Train a small decoder from nothing."""
    from training.pretraining.pretrain import PretrainRecipe, pretrain, read_texts

    recipe = PretrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        texts = sum(1 for _ in read_texts(recipe).iterate_texts())
        print(f"{options.recipe}: in order, {texts:,} texts")
        return
    pretrain(recipe)
