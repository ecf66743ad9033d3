"""`python -m training COMMAND …`, as `ncal COMMAND …`: each tells of itself with `--help`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from training.commands.parser import parse_command
from training.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 when a person can mend what is wrong."""
    parser = argparse.ArgumentParser(
        prog="ncal",
        description="From labelled texts to a checkpoint, and measuring what it is worth.",
    )
    options = parse_command(parser, arguments)
    # Nothing is fetched unless the caller's environment says so; set before transformers loads.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        if os.environ.get("WORLD_SIZE", "1") == "1":
            run(options)
        else:
            from training.fitting.processes import (
                run_in_first,  # late: --help must not wait for torch
            )

            run_in_first(lambda: run(options))
    except BadInput as error:
        rank = int(os.environ.get("RANK", "0"))  # what stops all processes is said by each
        print(f"error{f' in process {rank}' if rank else ''}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
