"""The commands of training, `ncal train` and its sisters: what each is asked, and what it runs.

What a command needs is imported when it runs: `--help` must not wait for torch.
"""

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from contract.manifest import GRAPH_NAME, Manifest
from training.errors import BadInput
from training.recipe.recipe import ColumnNames, SourceRecipe, TrainRecipe
from training.summaries import SUMMARIES

_FORMATS = get_args(SourceRecipe.model_fields["format"].annotation)
_OVERRIDES = "key.path=value after the options overrides a value of the recipe"


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

    _add_train(add("train", _train))
    _add_audit(add("audit", _audit))
    _add_evaluate(add("evaluate", _evaluate))
    _add_behaviour(add("behaviour", _behaviour))
    _add_calibrate(add("calibrate", _calibrate))
    _add_export(add("export", _export))
    _add_crossvalidate(add("crossvalidate", _crossvalidate))
    _add_recipe(add("report", _report))
    _add_recipe(add("baseline", _baseline), check=True)
    _add_recipe(add("mixes", _mixes), check=True)
    _add_ablate(add("ablate", _ablate))
    _add_recipe(add("pretrain", _pretrain), check=True)


def _add_recipe(command: argparse.ArgumentParser, *, check: bool = False) -> None:
    command.add_argument(
        "--recipe", type=Path, required=True, metavar="FILE", help="YAML file with every choice"
    )
    if check:
        command.add_argument(
            "--check",
            action="store_true",
            help="check recipe and data, load no weights, train nothing",
        )
    command.epilog = f"{_OVERRIDES}, for instance optimisation.seed=1."
    command.set_defaults(overrides=[])


def _add_train(command: argparse.ArgumentParser) -> None:
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
    _add_columns(command)
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
    command.epilog = f"{_OVERRIDES}, for instance optimisation.epochs=5."
    command.set_defaults(overrides=[])


def _add_columns(command: argparse.ArgumentParser) -> None:
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


def _add_audit(command: argparse.ArgumentParser) -> None:
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
    _add_columns(command)
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
    command.epilog = f"With --recipe, {_OVERRIDES}."
    command.set_defaults(overrides=[])


def _add_export(command: argparse.ArgumentParser) -> None:
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
    command.epilog = f"{_OVERRIDES}, for instance optimisation.seed=1."
    command.set_defaults(overrides=[])


def _add_crossvalidate(command: argparse.ArgumentParser) -> None:
    _add_recipe(command, check=True)
    command.add_argument(
        "--fold",
        type=int,
        action="append",
        metavar="N",
        help="only train this fold (from 0; may be repeated) and keep it: for several processes "
        "or machines on one `work`; the command without it then measures",
    )


def _add_labelled(command: argparse.ArgumentParser) -> None:
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


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    _add_labelled(command)
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


def _add_behaviour(command: argparse.ArgumentParser) -> None:
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


def _add_calibrate(command: argparse.ArgumentParser) -> None:
    _add_labelled(command)
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


def _add_ablate(command: argparse.ArgumentParser) -> None:
    _add_recipe(command, check=True)
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


def _pretrain(options: Namespace) -> None:
    from training.pretraining.pretrain import PretrainRecipe, pretrain, read_texts

    recipe = PretrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        texts = sum(1 for _ in read_texts(recipe).iterate_texts())
        print(f"{options.recipe}: in order, {texts:,} texts")
        return
    pretrain(recipe)


def _train(options: Namespace) -> None:
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
        _check(options, recipe)
        return
    _announce(recipe, train(recipe))
    if options.push_to_hub:
        print(f"pushed to {push(recipe.output, options.push_to_hub)}")
    print(f"serve it: ncal serve --checkpoint {recipe.output}")


def _audit(options: Namespace) -> None:
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
        audit_table(options.table, _name_columns(options), writing, planting, options.answers)


def _name_columns(options: Namespace) -> ColumnNames:
    return ColumnNames(
        text=options.text,
        label=options.label,
        speaker=options.speaker,
        dialogue=options.dialogue,
    )


def _read_seeds(spelled: str) -> list[int]:
    try:
        return [int(each) for each in spelled.split(",")]
    except ValueError:
        raise BadInput(f"--seeds {spelled}: must be whole numbers, as in 0,1,2") from None


def _find_recipe(options: Namespace) -> Path:
    """The recipe that is named, or the one that is written for a table."""
    if (options.table is None) == (options.recipe is None):
        raise BadInput("give a table of your own, or --recipe: one of them")
    if options.recipe is not None:
        return Path(options.recipe)
    from training.proposal.propose import propose

    columns = _name_columns(options)
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


def _export(options: Namespace) -> None:
    if options.onnx_only:
        from training.checkpoints.onnx_graph import add_graph

        add_graph(options.onnx_only)
        print(f"graph {options.onnx_only / GRAPH_NAME}")
        return
    from training.train import export

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    _announce(recipe, export(recipe))


def _crossvalidate(options: Namespace) -> None:
    from training.evaluation.crossvalidate import train_folds
    from training.evaluation.cv_evaluation import evaluate, summarize
    from training.evaluation.preparation import prepare

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        _check(options, recipe)
        return
    if options.fold:
        label_sets, examples, tokenizer = prepare(recipe)
        train_folds(recipe, examples, label_sets, tokenizer, folds=options.fold)
        return
    _, evaluation = evaluate(recipe, *prepare(recipe))
    for task, modes in evaluation.items():
        print(summarize(task, modes))


def _baseline(options: Namespace) -> None:
    from training.evaluation.baseline import measure_baseline

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        _check(options, recipe)
        return
    measure_baseline(recipe)


def _mixes(options: Namespace) -> None:
    from training.evaluation.mixes import measure_mixes

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        _check(options, recipe)
        return
    print(measure_mixes(recipe))


def _report(options: Namespace) -> None:
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


def _evaluate(options: Namespace) -> None:
    from training.evaluation.evaluate_checkpoint import evaluate_checkpoint

    evaluate_checkpoint(
        options.checkpoint,
        options.data,
        format=options.format,
        task=options.task,
        training=options.train,
        output=options.output,
    )


def _behaviour(options: Namespace) -> None:
    from training.evaluation.behaviour import measure_behaviour

    print(measure_behaviour(options.checkpoint, options.tests, failures=options.failures))


def _calibrate(options: Namespace) -> None:
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


def _ablate(options: Namespace) -> None:
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


def _check(options: Namespace, recipe: TrainRecipe) -> None:
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


def _announce(recipe: TrainRecipe, manifest: Manifest) -> None:
    from training.evaluation.cv_evaluation import summarize

    for task in manifest.tasks:
        print(summarize(task.label_set.task, task.evaluation))
    print(f"checkpoint {recipe.output} ({manifest.fingerprint})")
