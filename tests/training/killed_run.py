"""Trains as told and kills itself with SIGKILL: `python killed_run.py RECIPE FOLDER STEP`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from contract.labels import BUILT_IN, IRF, TIMSS
from training.data.examples import read_examples
from training.fit import fit
from training.fitting.trainer import CollapseTrainer
from training.models.model import load_tokenizer
from training.recipe.recipe import TrainRecipe

compute_loss = CollapseTrainer.compute_loss


class BrokenOffError(Exception):
    """Stands for whatever ends a run."""


def kill_at(step: int) -> None:
    """The process ends in the midst of the given step."""

    def die(self: CollapseTrainer, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute_loss(self, *arguments, **options)

    CollapseTrainer.compute_loss = die  # type: ignore[method-assign]


if __name__ == "__main__":
    recipe = TrainRecipe.read(Path(sys.argv[1]))
    kill_at(int(sys.argv[3]))
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    tokenizer = load_tokenizer(recipe.backbone)
    fit(recipe, examples, [TIMSS, IRF], tokenizer, run_folder=Path(sys.argv[2]))
