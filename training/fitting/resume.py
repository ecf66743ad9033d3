"""The checkpoints of an unfinished run: finding the last whole one, refusing another run's."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.trainer_callback import TrainerState

from contract.labels import LabelSet
from training.data.examples import Example, identify_label_set
from training.errors import BadInput
from training.fitting.processes import count_processes
from training.recipe.recipe import TrainRecipe

RUN_FILE = "run.json"
_STATE_FILE = "trainer_state.json"
_CHOICES = (
    "prompt", "loading", "lora", "head", "loss", "distillation", "optimisation", "augmentation",
    "support", "trainer",
)  # fmt: skip


def describe_run(
    recipe: TrainRecipe, examples: Sequence[Example], label_sets: Sequence[LabelSet]
) -> dict[str, Any]:
    """Everything that decides what the weights become, ready for JSON."""
    chosen = recipe.model_dump(mode="json")
    described = {key: chosen[key] for key in _CHOICES}
    backbone = Path(recipe.backbone)
    described["backbone"] = [recipe.backbone] + [
        [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(backbone.glob("*.safetensors"))
    ]
    words = recipe.head.init == "label-words"
    described["label sets"] = _hash(identify_label_set(each, words=words) for each in label_sets)
    described["examples"] = _hash(
        f"{each.id} {each.task} {each.label} {each.item.model_dump_json()}" for each in examples
    )
    described["processes"] = count_processes()
    return described


def open_run(folder: Path, run: dict[str, Any]) -> Path | None:
    """Return the last whole checkpoint of the same run, None if there is nothing to go on from.

    What a killed process left half written is removed. Raises BadInput if the folder holds
    checkpoints of another recipe or other data, or cannot be written.
    """
    with name_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        whole = []
        for checkpoint in folder.glob("checkpoint-*"):
            if _is_whole(checkpoint):
                whole.append(checkpoint)
            else:
                shutil.rmtree(checkpoint)
        if whole:
            check_same(folder, run)
            return max(whole, key=lambda checkpoint: int(checkpoint.name.split("-")[1]))
        (folder / RUN_FILE).write_text(json.dumps(run, ensure_ascii=False), encoding="utf-8")
        return None


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints, but not the file that says whose they were."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def close_run(folder: Path) -> None:
    """Forget a run that is finished: its model is in the caller's hands."""
    drop_checkpoints(folder)
    (folder / RUN_FILE).unlink(missing_ok=True)


def check_same(folder: Path, run: dict[str, Any]) -> None:
    """Raise BadInput if the unfinished run in the folder is not the one described."""
    try:
        kept = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        kept = {}
    asked = json.loads(json.dumps(run))
    differing = [key for key in asked if kept.get(key) != asked[key]]
    if differing:
        raise BadInput(
            f"{folder}: holds an unfinished run with another {', '.join(differing)}; finish it "
            "with its own recipe, remove the folder, or choose another `work`"
        )


@contextmanager
def name_write_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a lack of permission into BadInput with a remedy."""
    try:
        yield
    except OSError as error:
        raise refuse_writing(folder, error) from error


def refuse_writing(folder: Path, error: Exception) -> BadInput:
    """What to raise when a run cannot write."""
    return BadInput(
        f"{folder}: cannot be written: {error}; free space or mend the permissions and run the "
        "same command again: it goes on from the last whole checkpoint"
    )


def _is_whole(checkpoint: Path) -> bool:
    """The Trainer writes its state last: if that can be read, so can the rest.

    Only the other processes' random states may come later still.
    """
    try:
        TrainerState.load_from_json(str(checkpoint / _STATE_FILE))
    except (OSError, ValueError, TypeError):
        return False
    others = range(1, count_processes())
    return all((checkpoint / f"rng_state_{process}.pth").exists() for process in others)


def _hash(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
