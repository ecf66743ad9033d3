"""The table of programs: a row for each, which imports what it runs when it is called."""

import runpy
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

_BASE = "install the application again, with all that it depends on"
_EXTRA = "install the application with its extra: `uv tool install '.[training]'`"


class Program(NamedTuple):
    """What stands behind one word."""

    summary: str
    """One line for `ncal --help`."""
    run: Callable[[list[str]], int]
    """Takes the words behind its name; returns the exit status."""
    group: str = "Use it"
    remedy: str = _BASE
    """What helps when something it imports is not installed."""


def _serve(arguments: list[str]) -> int:
    """As the main module: a process that vLLM spawns runs that one again, to prepare itself."""
    sys.argv[1:] = arguments
    runpy.run_module("service.command", run_name="__main__", alter_sys=True)
    return 0


def _label(arguments: list[str]) -> int:
    """On a cluster if one is named: another program, with other needs."""
    if any(word == "--ray" or word.startswith("--ray=") for word in arguments):
        from bulk.command import main as label_in_bulk

        return label_in_bulk(arguments)
    from labelling.command import main

    return main(arguments)


def _ask(arguments: list[str]) -> int:
    from labelling.ask import main

    return main(arguments)


def _make_key(arguments: list[str]) -> int:
    from service.access.api_keys import main

    return main(arguments)


def _list_models(arguments: list[str]) -> int:
    from service.model_list import main

    return main(arguments)


def _list_training() -> Mapping[str, str]:
    try:
        from training.summaries import SUMMARIES
    except ModuleNotFoundError:  # an image that only serves
        return {}
    return SUMMARIES


def _train(name: str, arguments: list[str]) -> int:
    from training.__main__ import main

    return main([name, *arguments])


PROGRAMS: Mapping[str, Program] = {
    "serve": Program("Answer over HTTP, by default on http://127.0.0.1:8000", _serve),
    "label": Program("Label every row of files", _label),
    "ask": Program("Answer problems, or a dialogue, line by line as you type", _ask),
    "models": Program("List checkpoints: the bundled one, and those in a folder", _list_models),
    "key": Program("Make an API key and its entry for the service", _make_key),
    **{
        name: Program(summary, partial(_train, name), "Train (extra `training`)", _EXTRA)
        for name, summary in _list_training().items()
    },
}
"""In the order of `ncal --help`; those of a group stand together."""
