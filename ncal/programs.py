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
    from labelling.command import main

    return main(arguments)


def _make_key(arguments: list[str]) -> int:
    from service.access.api_keys import main

    return main(arguments)


def _list_models(arguments: list[str]) -> int:
    from service.model_list import main

    return main(arguments)


def _train(name: str, arguments: list[str]) -> int:
    from training.__main__ import main

    return main([name, *arguments])


_TRAINING = {
    "train": "Cross-validate, calibrate, train on everything, write a checkpoint",
    "evaluate": "Measure a finished checkpoint on labelled files",
    "calibrate": "Refit temperature, biases and thresholds on labelled files",
    "export": "Write the checkpoint of a finished run, or add model.onnx to a checkpoint",
    "crossvalidate": "Measure a recipe by cross-validation and report",
    "report": "Write the report again from kept folds",
    "baseline": "Measure TF-IDF with logistic regression on the same folds",
    "mixes": "Simulate what priors do to the baseline's answers in batches",
    "ablate": "Compare presets over seeds on the same folds",
    "pretrain": "Train a small decoder from nothing on unlabelled text",
}
"""Those of `python -m training`."""

PROGRAMS: Mapping[str, Program] = {
    "serve": Program("Answer over HTTP, by default on http://127.0.0.1:8000", _serve),
    "label": Program("Label every row of a file", _label),
    "models": Program("List checkpoints: the bundled one, and those in a folder", _list_models),
    "key": Program("Make an API key and its entry for the service", _make_key),
    **{
        name: Program(summary, partial(_train, name), "Train (extra `training`)", _EXTRA)
        for name, summary in _TRAINING.items()
    },
}
"""In the order of `ncal --help`; those of a group stand together."""
