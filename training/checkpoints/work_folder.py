"""What a run keeps in `work`, so that nothing is trained twice: folds and the final model.

What is kept is used again only by the run it belongs to: `run.yaml` beside it says which
recipe, data and backbone that was.
"""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from contract.manifest import hash_file
from training.data.examples import fingerprint_sources, identify_label_set, read_label_set
from training.errors import BadInput
from training.files import write_text
from training.fitting.collapse_history import FILE_NAME as COLLAPSE_NAME
from training.recipe.recipe import TrainRecipe

RECIPE_NAME = "recipe.yaml"
"""The recipe beside the weights of a checkpoint."""
_RUN_NAME = "run.yaml"
_SHOWN = 5  # differences of two runs; the message stays readable
_WITHOUT_EFFECT = {
    "name": True, "output": True, "work": True, "card": True, "export_dtype": True,
    "report_to": True, "label_sets": True, "sources": {"__all__": {"path"}},
    "support": {"__all__": {"path"}}, "dev": {"__all__": {"path"}}, "test": True,
    "evaluation": {"coverage", "parity_items"},
}  # fmt: skip
"""What may change without changing a trained model; data are told by their sha256."""


def check_work(recipe: TrainRecipe) -> None:
    """Raise BadInput if `recipe.work` holds the folds or the model of another run."""
    path = recipe.work / _RUN_NAME
    try:
        if not path.exists():
            return
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        # Runs of before folds were grouped dealt them at random.
        stored["recipe"]["evaluation"].setdefault("grouped", False)
        before = _identify(TrainRecipe.model_validate(stored["recipe"]), stored["sha256"])
        now = _identify(recipe, _fingerprint(recipe))
    except (OSError, KeyError, TypeError, ValidationError, yaml.YAMLError) as error:
        raise BadInput(
            f"{path}: cannot be read ({error}); remove {recipe.work} or choose another `work`"
        ) from error
    if differences := _compare(before, now):
        raise BadInput(
            f"{recipe.work}: holds what another run trained ({'; '.join(differences)}); "
            "choose another `work`, or remove it to train anew"
        )


def read_work(work: Path) -> TrainRecipe:
    """The recipe of the run that the folder holds, wherever it was moved to.

    BadInput if it holds none, or its data, label sets or backbone are others by now.
    """
    path = work / _RUN_NAME
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe = TrainRecipe.model_validate(stored["recipe"] | {"work": work})
    except FileNotFoundError as error:
        raise BadInput(
            f"{work}: holds no training, for there is no {_RUN_NAME}; name the `work` of a recipe "
            "that was trained"
        ) from error
    except (OSError, KeyError, TypeError, ValidationError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); train it again") from error
    check_work(recipe)
    return recipe


def claim_work(recipe: TrainRecipe) -> None:
    """Make `recipe.work` this run's own; BadInput if it is another's or cannot be written."""
    check_work(recipe)
    run = {"recipe": recipe.model_dump(mode="json"), "sha256": _fingerprint(recipe)}
    text = yaml.safe_dump(run, allow_unicode=True, sort_keys=False)
    write_text(recipe.work / _RUN_NAME, text)


def read_collapse(run_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Task → neural collapse through a fit, as its `collapse.jsonl` has it; empty without one."""
    path = run_folder / COLLAPSE_NAME
    history: dict[str, list[dict[str, Any]]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            history.setdefault(entry.pop("task"), []).append(entry)
    return history


def final_folder(recipe: TrainRecipe) -> Path:
    """Where the model that was trained on all examples is kept."""
    return recipe.work / "final-model"


def keep_final(recipe: TrainRecipe, model: PreTrainedModel) -> None:
    """Keep the final merged model, in float32, whole or not at all."""
    folder = final_folder(recipe)
    staging = folder.with_name(folder.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        model.save_pretrained(staging)
        staging.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise BadInput(f"{folder}: cannot be written: {error}; free space and run again") from error


def load_final(recipe: TrainRecipe) -> PreTrainedModel:
    """Load what `keep_final` kept; BadInput if there is none."""
    folder = final_folder(recipe)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no final model is kept; run `ncal train`")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: cannot be loaded: {error}; remove it to train anew") from error
    return cast(PreTrainedModel, model.eval())


def _fingerprint(recipe: TrainRecipe) -> dict[str, str]:
    """File → sha256 of data, label sets and, where it lies in a folder, the backbone."""
    backbone = sorted(Path(recipe.backbone).glob("*.safetensors"))
    try:
        words = recipe.head.init == "label-words"
        return (
            fingerprint_sources([*recipe.files, *recipe.dev])
            | {
                f"{path.parent.name}/{path.name}": identify_label_set(
                    read_label_set(path), words=words
                )
                for path in recipe.label_sets
            }
            | {f"{path.parent.name}/{path.name}": hash_file(path) for path in backbone}
        )
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be read: {error.strerror}") from error


def _identify(recipe: TrainRecipe, sha256: dict[str, str]) -> dict[str, str]:
    flat: dict[str, str] = {}
    _flatten(recipe.model_dump(mode="json", exclude=cast(Any, _WITHOUT_EFFECT)), "", flat)
    return flat | {f"sha256 of {name}": digest[:12] for name, digest in sha256.items()}


def _flatten(value: Any, key: str, flat: dict[str, str]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(inner, f"{key}.{name}" if key else name, flat)
    else:
        flat[key] = str(value)


def _compare(before: dict[str, str], after: dict[str, str]) -> list[str]:
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    lines = [
        f"{key}: {before.get(key, 'none')} there, {after.get(key, 'none')} now"
        for key in keys[:_SHOWN]
    ]
    return lines + ([f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else [])
