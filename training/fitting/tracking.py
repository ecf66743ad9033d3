"""Where a fit reports to beside the screen: the Trainer's own reporters, a run for each fit."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.errors import BadInput
from training.recipe.recipe import TrainRecipe

_REMEDIES = {
    "mlflow": "set MLFLOW_TRACKING_URI to a server or file that can be reached",
    "wandb": "run `wandb login`, or set WANDB_MODE=offline",
}


def check_trackers(recipe: TrainRecipe) -> None:
    """Raise BadInput for a reporter that is not installed."""
    for tracker in recipe.report_to:
        found = importlib.util.find_spec(tracker)
        if found is None or found.origin is None:  # W&B's own folder of runs has no origin
            raise BadInput(
                f"report_to: {tracker} is not installed; pip install {tracker}, or leave it out"
            )


def name_project(recipe: TrainRecipe) -> None:
    """Runs lie under the recipe's name, unless the caller's environment says where."""
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", recipe.name)
    os.environ.setdefault("WANDB_PROJECT", recipe.name)


class RunEnd(TrainerCallback):
    """Ends the run at W&B with the fit: left to itself, the next fold would go on in it."""

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Called after the Trainer has reported its last figures."""
        if state.is_world_process_zero and "wandb" in (args.report_to or ()):
            importlib.import_module("wandb").finish()


@contextmanager
def name_tracker_errors() -> Iterator[None]:
    """Turn what a reporter raises into BadInput with a remedy."""
    try:
        yield
    except Exception as error:
        tracker = type(error).__module__.partition(".")[0]
        if tracker not in _REMEDIES:
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise BadInput(f"report_to: {tracker}: {reason}; {_REMEDIES[tracker]}") from error
