"""The command: the order of its steps."""

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Sequence

from bulk.arguments import parse_arguments

_DONE, _FAILED, _REFUSED, _INTERRUPTED = 0, 1, 2, 130
_NEEDED = ("ray", "pyarrow")


def main(arguments: Sequence[str]) -> int:
    """Label files; returns the exit status: 1 if some could not be, 2 for wrong input."""
    options = parse_arguments(arguments)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"label: --ray needs {' and '.join(missing)}, not installed here; install the "
            "application with its extra: `uv tool install '.[bulk]'`, in a clone `make setup "
            "EXTRA=bulk`",
            file=sys.stderr,
        )
        return _REFUSED
    from contract.manifest import CheckpointError
    from engine.errors import EngineRefused
    from tables.errors import FileError

    try:
        return _label(options)
    except (FileError, CheckpointError, EngineRefused) as error:
        print(f"label: {error}", file=sys.stderr)
        return _REFUSED
    except KeyboardInterrupt:
        print("label: stopped; run the same command to go on", file=sys.stderr)
        return _INTERRUPTED


def _label(options: Namespace) -> int:
    """What is imported here takes a second, and is not there for everybody."""
    from bulk.cluster.connection import connect
    from bulk.run import run_job

    with connect(options.ray):
        failures = run_job(options)
    for failure in failures:
        print(f"label: {failure}", file=sys.stderr)
    if failures:
        print("label: mend these and run the same command again", file=sys.stderr)
    return _FAILED if failures else _DONE
