"""Programs of the project: their options are parsed by their own parsers, and nothing runs."""

import argparse
import importlib
import importlib.util
import io
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bulk.arguments import parse_arguments as parse_bulk
from engine.checkpoint import split_place
from labelling.arguments import parse_arguments
from labelling.ask import parse_arguments as parse_ask
from ncal.programs import PROGRAMS
from service.access.api_keys import parse_entry
from service.model_list import parse_arguments as parse_model_list
from service.settings import SettingsError, read_settings
from tests.docs.files import find_missing
from training.commands.parser import parse_command
from training.errors import BadInput
from training.recipe.recipe import TrainRecipe

_TOOLS = ("coverage", "mypy", "pip", "pytest", "ruff")


class _ParsedError(Exception):
    """A program has parsed its options and would now begin."""


def check_python(words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a command that runs a Python module."""
    program, *rest = words
    if program in ("python", "python3"):
        return [f"{' '.join(words)}: runs outside the environment; say .venv/bin/python"]
    environment, _, name = program.partition("/bin/")
    if environment not in (".venv", ".venv-gpu"):
        return [f"{program}: make sets up .venv and .venv-gpu"]
    if name == "torchrun":
        rest = rest[rest.index("-m") :] if "-m" in rest else []
    if len(rest) < 2 or rest[0] != "-m":
        return [f"{' '.join(words)}: runs no module"]
    faults = check_module(rest[1], rest[2:])
    if not faults and rest[1] == "training" and environment == ".venv":
        faults += _check_trains_on_cpu(rest[2:])
    return faults


def check_module(module: str, arguments: list[str]) -> list[str]:
    """Return what is wrong with `python -m module arguments`."""
    name = f"python -m {module}"
    if module in _TOOLS or module == "deploy":
        missing = importlib.util.find_spec(module) is None
        return [f"{name}: is not installed"] if missing else []
    if module == "ncal":
        return check_ncal(("ncal", *arguments))
    check = _PARSERS.get(module)
    if check is None and module.startswith("benchmarks."):
        return _catch(name, lambda: _parse_benchmark(module, arguments))
    if check is None:
        return [f"{name}: the pages have no such program"]
    return _catch(name, lambda: check(arguments))


def check_ncal(words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a command of the installed application."""
    _, *rest = words
    if rest in (["--help"], ["--version"]):
        return []
    if not rest or rest[0] not in PROGRAMS:
        return [f"{' '.join(words)}: there is no such command"]
    name, *arguments = rest
    if name not in _NCAL:  # one of training
        return _catch(f"ncal {name}", lambda: _parse_training(rest))
    return _catch(f"ncal {name}", lambda: _NCAL[name](arguments))


def _catch(name: str, parse: Callable[[], list[str]]) -> list[str]:
    """Run a parser; what it prints or raises becomes a fault."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            return [f"{name}: {fault}" for fault in parse()]
    except SystemExit as end:
        if end.code in (0, None):
            return []
        return [f"{name}: {said.getvalue().strip().splitlines()[-1]}"]
    except (SettingsError, BadInput) as error:
        return [f"{name}: {error}"]


def _parse_training(arguments: list[str]) -> list[str]:
    options = parse_command(ArgumentParser(prog="training"), arguments)
    faults = _check_paths(options)
    recipe: Path | None = getattr(options, "recipe", None)
    if not faults and recipe and recipe.exists() and options.command != "pretrain":
        overrides = [each for each in options.overrides or () if "…" not in each]
        TrainRecipe.read(recipe, overrides)
    return faults


def _check_paths(options: Namespace) -> list[str]:
    """What an option names exists, but for what is written."""
    given: list[Any] = []
    for name, value in vars(options).items():
        if name not in ("output", "results"):
            given += value if isinstance(value, list) else [value]
    names = [each.as_posix() for each in given if isinstance(each, Path)]
    return [missing for name in names if (missing := find_missing(name))]


def _check_trains_on_cpu(arguments: list[str]) -> list[str]:
    """A backbone from the hub is meant for a GPU, which the torch in `.venv` cannot see."""
    options = parse_command(ArgumentParser(prog="training"), arguments)
    recipe: Path | None = getattr(options, "recipe", None)
    trains = options.command in ("train", "crossvalidate", "ablate")
    if not trains or recipe is None or not recipe.exists():
        return []
    backbone = TrainRecipe.read(recipe).backbone
    if backbone.startswith(("build/", "./", "/")):
        return []
    return [f"{recipe}: {backbone} would train on the CPU; .venv holds a CPU torch: say .venv-gpu"]


def _parse_labelling(arguments: list[str]) -> list[str]:
    if "--ray" in arguments:
        return _check_paths(parse_bulk(arguments))
    return _check_paths(parse_arguments(arguments))


def _parse_ask(arguments: list[str]) -> list[str]:
    return _check_paths(parse_ask(arguments))


def _parse_service(arguments: list[str]) -> list[str]:
    settings = read_settings(arguments)
    directories = [split_place(place)[1] for place in settings.checkpoint]
    names = [path.as_posix() for path in directories if not path.is_absolute()]
    return [missing for name in names if (missing := find_missing(name))]


def _parse_key(arguments: list[str]) -> list[str]:
    parse_entry(arguments)
    return []


def _parse_model_list(arguments: list[str]) -> list[str]:
    return _check_paths(parse_model_list(arguments))


def _parse_benchmark(module: str, arguments: list[str]) -> list[str]:
    """Let a program run to where its options are parsed, and no further."""
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    with _stop_after_parsing(), patch.object(sys, "argv", [module, *arguments]):
        try:
            found.main()
        except _ParsedError:
            return []
    return ["never parsed its options"]


@contextmanager
def _stop_after_parsing() -> Iterator[None]:
    parse = ArgumentParser.parse_args

    def parse_and_stop(parser: ArgumentParser, *args: Any, **options: Any) -> None:
        parse(parser, *args, **options)
        raise _ParsedError

    with patch.object(argparse.ArgumentParser, "parse_args", parse_and_stop):
        yield


_PARSERS: dict[str, Callable[[list[str]], list[str]]] = {
    "labelling": _parse_labelling,
    "service": _parse_service,
    "service.access.api_keys": _parse_key,
    "training": _parse_training,
}
_NCAL: dict[str, Callable[[list[str]], list[str]]] = {
    "ask": _parse_ask,
    "key": _parse_key,
    "label": _parse_labelling,
    "models": _parse_model_list,
    "serve": _parse_service,
}
