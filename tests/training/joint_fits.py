"""Runs a command and fits the recipes of a folder, under torchrun in every process at once.

`joint_fits.py FOLDER COMMAND …` runs `python -m training COMMAND …`, then reads `NAME.yaml` and
writes `NAME.safetensors` and the log `NAME.json` into FOLDER. A recipe whose name ends in
`resumed` is broken off in its third step first. One with `trainer.fsdp` shards its weights.
Both in one place: what a process of torch imports costs more than what it fits here.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from accelerate import DistributedType, PartialState
from safetensors.torch import save_file

from contract.labels import BUILT_IN, IRF, TIMSS
from training.__main__ import main
from training.data.examples import read_examples
from training.fit import fit
from training.fitting import single_run
from training.fitting.processes import is_first
from training.fitting.single_run import NotFirstError
from training.fitting.trainer import CollapseTrainer
from training.models.model import load_classifier, load_tokenizer
from training.recipe.recipe import TrainRecipe

compute_loss, log = CollapseTrainer.compute_loss, CollapseTrainer.log


class BrokenOffError(Exception):
    """Stands for whatever ends a run."""


def fit_recipe(path: Path, work: Path) -> None:
    """Fit and write down what came out."""
    recipe = TrainRecipe.read(path)
    if recipe.trainer.get("fsdp"):
        allow_sharding_on_cpu()
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    logged: list[dict[str, float]] = []
    CollapseTrainer.log = lambda self, logs, *rest: (  # type: ignore[method-assign]
        log(self, logs, *rest),
        logged.append(logs),
    )[0]
    tokenizer = load_tokenizer(recipe.backbone)
    watch_loading(work / path.stem)
    try:
        model = fit(recipe, examples, [TIMSS, IRF], tokenizer, run_folder=work / path.stem)
    except NotFirstError:
        assert not is_first() and recipe.trainer.get("fsdp")
        return
    if is_first():
        save_file(model.state_dict(), work / f"{path.stem}.safetensors")
        (work / f"{path.stem}.json").write_text(json.dumps(logged))


def watch_loading(run: Path) -> None:
    """Write down how many weights of the backbone this process loads, in RUN.loaded-RANK."""

    def load(*arguments: Any) -> Any:
        model: Any = load_classifier(*arguments)
        loaded = sum(int(weight.count_nonzero()) for weight in model.model.parameters())
        run.with_suffix(f".loaded-{os.environ.get('RANK', '0')}").write_text(str(loaded))
        return model

    single_run.load_classifier = load


def allow_sharding_on_cpu() -> None:
    """torch shards on a CPU; accelerate asks for a GPU, so it is told that there is one."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    prepared = ("gloo", DistributedType.MULTI_GPU)
    PartialState._prepare_backend = lambda *_: prepared  # type: ignore[method-assign]


def break_off(path: Path, work: Path) -> None:
    """End the fit of a recipe in its third step."""

    def stop(self: CollapseTrainer, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == 2:
            raise BrokenOffError
        return compute_loss(self, *arguments, **options)

    CollapseTrainer.compute_loss = stop  # type: ignore[method-assign]
    try:
        fit_recipe(path, work)
    except BrokenOffError:
        CollapseTrainer.compute_loss = compute_loss  # type: ignore[method-assign]


def fit_all(folder: Path, work: Path) -> None:
    """All recipes of `folder`; results below `work`."""
    for path in sorted(folder.glob("*.yaml")):
        if path.stem.endswith("resumed"):
            break_off(path, work)
        fit_recipe(path, work)


def take_part(folder: Path, command: Sequence[str]) -> int:
    """In each process of torchrun: the command first, which ends what joins the processes."""
    if code := main(command):
        return code
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # torchrun's own place of meeting still holds what the command's processes said there.
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    fit_all(folder, folder)
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(take_part(Path(sys.argv[1]), sys.argv[2:]))
