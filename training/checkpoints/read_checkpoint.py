"""A finished checkpoint read back: its heads, its labelled data, its scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from contract.inputs import AnyInput
from contract.manifest import CheckpointError, Manifest, Task, read_manifest
from contract.prompts import PromptEncoder
from training.data.examples import Example, list_modes, read_examples, strip_following
from training.errors import BadInput
from training.models.model import load_tokenizer
from training.models.prediction import predict_scores
from training.recipe.recipe import SourceRecipe


def open_checkpoint(folder: Path, task: str) -> tuple[Manifest, Task]:
    """Return the manifest and the head of that task; BadInput if there is none."""
    try:
        manifest = read_manifest(folder)
        return manifest, manifest.task(task)
    except CheckpointError as error:
        raise BadInput(str(error)) from error
    except KeyError as error:
        tasks = ", ".join(each.label_set.task for each in manifest.tasks)
        raise BadInput(f"{folder}: serves no task {task!r}; it has: {tasks}") from error


def read_labelled(paths: Sequence[Path], format: str, head: Task, folder: Path) -> list[Example]:
    """Read files labelled with the head's label set; a class may have no example.

    Raises BadInput with file, line and reason, also for a label the checkpoint does not know.
    """
    name = head.label_set.task
    sources = [
        SourceRecipe.model_validate({"path": path, "format": format, "task": name})
        for path in paths
    ]
    try:
        examples = read_examples(sources, {name: head.label_set}, folds=0)
    except BadInput as error:
        if "unknown label" not in str(error):
            raise
        raise BadInput(
            f"{error}. These are the labels of the checkpoint {folder}: relabel the data, or "
            "use a checkpoint that was trained on their label set"
        ) from error
    if not examples:
        raise BadInput(f"{', '.join(map(str, paths))}: no example in it")
    return examples


def score_modes(
    folder: Path, head: Task, items: Sequence[AnyInput]
) -> dict[str, NDArray[np.float32]]:
    """Mode → raw logits (items, K) of the head, in float32, as a server would compute them."""
    name, tokenizer = head.label_set.task, load_tokenizer(str(folder))
    model = _load_model(folder, head)
    encoder = PromptEncoder(
        tokenizer,
        version=head.prompt_version,
        max_tokens=head.max_tokens,
        window=head.window,
        frame=head.frame,
        instruction=head.label_set.instruction,
    )
    seen = {"retrospective": list(items), "live": [strip_following(item) for item in items]}
    return {
        mode: predict_scores(
            model, encoder.encode(seen[mode]), tokenizer.pad_token_id, title=f"{name}/{mode}"
        )[:, list(head.rows)]
        for mode in list_modes(head.label_set)
    }


def name_trained_on(manifest: Manifest, sha256: dict[str, str]) -> list[str]:
    """Those of the files (name → sha256) that the checkpoint was trained on."""
    known = set(manifest.data_sha256.values())
    return [name for name, digest in sha256.items() if digest in known]


def _load_model(folder: Path, head: Task) -> PreTrainedModel:
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: cannot be loaded: {error}") from error
    if max(head.rows) >= model.config.num_labels:
        raise BadInput(
            f"{folder}: the manifest gives {head.label_set.task} row {max(head.rows)} of a head "
            f"of {model.config.num_labels} rows; the folder holds files of two checkpoints"
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return cast(PreTrainedModel, model.eval())
