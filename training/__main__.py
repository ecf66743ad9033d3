"""`python -m training pretrain|train|crossvalidate|baseline --recipe FILE [key.path=value …]`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from training.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 when a person can mend what is wrong."""
    options = _parse(arguments)
    # Nothing is fetched unless the caller's environment says so; set before transformers loads.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        _COMMANDS[options.command](options)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _pretrain(options: argparse.Namespace) -> None:
    from training.pretrain import PretrainRecipe, pretrain

    recipe = PretrainRecipe.read(options.recipe, options.overrides)
    if not options.check:
        pretrain(recipe)


def _train(options: argparse.Namespace) -> None:
    from training.recipe import TrainRecipe
    from training.train import check_exportable, prepare, summarize, train

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    if options.check:
        check_exportable(recipe)
        _, examples, _ = prepare(recipe)
        print(f"{options.recipe}: in order, {len(examples):,} examples")
        return
    manifest = train(recipe)
    for task in manifest.tasks:
        print(summarize(task.label_set.task, task.evaluation))
    print(f"checkpoint {recipe.output} ({manifest.fingerprint})")


def _crossvalidate(options: argparse.Namespace) -> None:
    from training.recipe import TrainRecipe
    from training.train import evaluate, prepare, summarize

    recipe = TrainRecipe.read(options.recipe, options.overrides)
    label_sets, examples, tokenizer = prepare(recipe)
    if not options.check:
        _, evaluation = evaluate(recipe, label_sets, examples, tokenizer)
        for task, modes in evaluation.items():
            print(summarize(task, modes))


def _baseline(options: argparse.Namespace) -> None:
    from training.baseline import measure_baseline
    from training.recipe import TrainRecipe

    measure_baseline(TrainRecipe.read(options.recipe, options.overrides))


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "pretrain": _pretrain,
    "train": _train,
    "crossvalidate": _crossvalidate,
    "baseline": _baseline,
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--recipe", type=Path, required=True, help="YAML file with every choice")
    parser.add_argument(
        "--check", action="store_true", help="check recipe and data, load no weights, train nothing"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="override a value of the recipe"
    )
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
