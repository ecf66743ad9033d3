"""Two processes under torchrun: the weights of one, one checkpoint, one voice."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, TrainingArguments

from contract.manifest import read_manifest
from tests.training import joint_fits
from tests.training.tiny import make_recipe
from tests.unmeasured import make_unmeasured_environment
from training.errors import BadInput
from training.fitting.processes import leave_out_torchrun
from training.fitting.trainer_arguments import build_arguments
from training.fitting.validation import METRIC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

# Gradients are what processes share; with its usual ε Adam would blow up how the last bits of
# tiny ones round.
OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 12, "learning_rate": 0.5}
EPOCH = {"epochs": 1}
STEADY = {"adam_epsilon": 1.0, "logging_steps": 1}
SHARDED = STEADY | {"fsdp": True}
# Every weight trained, recomputed, on the directions of features, in batches of two parts.
COSINE: dict[str, Any] = {
    "lora": None,
    "loss": {"name": "cosine"},
    "optimisation": {"gradient_checkpointing": True, "accumulation": 2, "epochs": 1},
}
# Adapters, the best of several checkpoints, and an end before the end.
RESUMED: dict[str, Any] = {
    "augmentation": {"drop_following": 0.4, "drop_tokens": 0.1},
    "optimisation": {"save_steps": 2, "validation_share": 0.2, "early_stopping_patience": 9,
                     "sampling": "class-balanced", "warmup_fraction": 0.0, "learning_rate": 1.0},
}  # fmt: skip
FITS: dict[str, dict[str, Any]] = {
    "cosine": COSINE,
    "resumed": RESUMED,
    "sharded-cosine": COSINE | {"trainer": SHARDED},
    "sharded-resumed": RESUMED | {"trainer": SHARDED},
}


def run_two(
    *command: str, inherited: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments += ["--nproc-per-node=2", *command]
    environment = leave_out_torchrun(inherited) | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        try:
            out, err = launcher.communicate()
        finally:
            launcher.terminate()  # if the test was stopped: torchrun ends what it started
    return subprocess.CompletedProcess(arguments, launcher.returncode, out, err)


def make(workplace: Path, **changes: Any) -> Any:
    options = OPTIONS | changes.pop("optimisation", {})
    return make_recipe(workplace, optimisation=options, **{"trainer": STEADY} | changes)


def assert_close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-5), name


class Joint(NamedTuple):
    """What two processes have done, started once."""

    fits: Path
    """Holds what `FITS` came to."""
    run: Path
    """Where a recipe was trained to the end."""
    finished: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def joint(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Joint:
    fits, run = tmp_path_factory.mktemp("fits"), tmp_path_factory.mktemp("run")
    for name, changes in FITS.items():
        make(workplace, **changes).write(fits / f"{name}.yaml")
    work = {"output": run / "out", "work": run / "work"}
    recipe = make(workplace, evaluation={"parity_items": 8}, optimisation=EPOCH, **work)
    recipe.write(run / "recipe.yaml")
    command = ("train", "--recipe", str(run / "recipe.yaml"))
    environment = make_unmeasured_environment()
    finished = run_two(joint_fits.__file__, str(fits), *command, inherited=environment)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return Joint(fits, run, finished)


def test_two_processes_train_the_weights_of_one(
    workplace: Path, tmp_path: Path, joint: Joint
) -> None:
    """Whole weights in both or, sharded, half of each in either."""
    for name, changes in FITS.items():
        if not name.startswith("sharded-"):
            make(workplace, **changes).write(tmp_path / f"{name}.yaml")
    joint_fits.fit_all(tmp_path, tmp_path)
    for name in FITS:
        two, whole = joint.fits / f"{name}.safetensors", name.removeprefix("sharded-")
        one = tmp_path / f"{whole}.safetensors"
        assert_close(load_file(one), load_file(two))
        loaded = [int((joint.fits / f"{name}.loaded-{rank}").read_text()) for rank in (0, 1)]
        assert loaded[0] > 0 and (loaded[1] > 0) is not name.startswith("sharded-")
        logs = [json.loads(path.with_suffix(".json").read_text()) for path in (one, two)]
        keys = ("loss", "loss_cls", "loss_tc")
        parts = [[entry[key] for entry in log for key in keys if key in entry] for log in logs]
        assert parts[0] and parts[1] == pytest.approx(parts[0], rel=1e-3, abs=1e-4)
        recalls = [[entry[METRIC] for entry in log if METRIC in entry] for log in logs]
        assert recalls[0] == recalls[1]
        if name.endswith("resumed"):
            assert max(recalls[0]) > recalls[0][0]  # not the first checkpoint is the best
        assert not list(joint.fits.glob(f"{name}/checkpoint-*"))


def test_the_whole_run_writes_and_says_everything_once(
    workplace: Path, tmp_path: Path, joint: Joint
) -> None:
    """`train`, vLLM's proof included; the weights are those of one process."""
    for line in ("fold 1 of 2", "fold 2 of 2", "irf (live): macro recall", "\ncheckpoint "):
        assert joint.finished.stdout.count(line) == 1
    manifest = read_manifest(joint.run / "out")
    assert manifest.parity and manifest.parity[0].max_probability_difference < 1e-3
    assert {path.name for path in joint.run.iterdir()} == {"out", "work", "recipe.yaml"}
    lines = (joint.run / "work" / "final" / "collapse.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 0, 1, 1]

    make(workplace, optimisation=EPOCH).write(tmp_path / "alone.yaml")
    joint_fits.fit_recipe(tmp_path / "alone.yaml", tmp_path)
    trained = AutoModelForSequenceClassification.from_pretrained(joint.run / "out").state_dict()
    assert_close(load_file(tmp_path / "alone.safetensors"), trained)


def test_a_batch_that_cannot_be_shared_is_refused(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(BadInput, match="batch_size 12 cannot be shared evenly among 5 processes"):
        build_arguments(make(workplace), 90, tmp_path, 0)


def test_one_process_that_sees_several_gpus_is_refused(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)  # as on a machine with two
    with pytest.raises(BadInput, match="torchrun --nproc-per-node=2"):
        build_arguments(make(workplace), 90, tmp_path, 0)
