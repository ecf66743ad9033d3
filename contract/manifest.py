"""`manifest.json`: what a checkpoint says of itself, beside the Hugging Face files."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from contract.labels import LabelSet
from contract.prompts import ContextWindow, Frame, PromptVersion

FORMAT_VERSION = 3
"""2 has the biases of `Task`, 3 `files_sha256`; older checkpoints are read as they were written."""
MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "model.safetensors"
GRAPH_NAME = "model.onnx"
"""The same network as a graph, whose weights are the bytes of WEIGHTS_NAME."""
DECIDING_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What beside weights, graph and manifest decides an answer; the last one need not be there."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class CheckpointError(Exception):
    """A checkpoint that must not be served; the message names the directory and the remedy."""


class Task(BaseModel):
    """One head of the checkpoint: its classes and how to read their logits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_set: LabelSet
    rows: tuple[int, ...]
    """Rows of `score.weight`, in the order of the label set."""
    temperature: float = Field(gt=0.0)
    """Divide logits by it; fitted by held-out likelihood under the uniform prior."""
    biases: tuple[FiniteFloat, ...] = ()
    """Add to the divided logits, one for each class; fitted by held-out likelihood. None at all
    is as good as zeros."""
    training_prior: tuple[Probability, ...]
    """Share of each class in the training data; adding its logarithm to the scaled logits
    answers for traffic of that mix. The logits themselves answer for a uniform prior."""
    conformal_thresholds: tuple[Probability, ...]
    """Least probability (uniform prior) at which a class enters the prediction set."""
    conformal_coverage: Probability
    """Coverage, per class, for which the thresholds were set."""
    prompt_version: PromptVersion
    max_tokens: int = Field(ge=32)
    """Bound of the whole prompt; longer input is cut by the rule of `contract.prompts`."""
    frame: Frame | None = None
    """What the chat template puts around a message, as it was in training; None in checkpoints
    that were made before: then the template is asked."""
    window: ContextWindow = ContextWindow()
    """Turns before and after a dialogue turn that the model was trained to read."""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    """Metrics by mode, as `training evaluate` writes them."""

    @model_validator(mode="after")
    def _check_lengths(self) -> "Task":
        classes = len(self.label_set.labels)
        for name in ("rows", "training_prior", "conformal_thresholds"):
            if len(getattr(self, name)) != classes:
                raise ValueError(f"{name} must have one entry for each of the {classes} labels")
        if len(self.biases) not in (0, classes):
            raise ValueError(
                f"biases must have one entry for each of the {classes} labels, or none"
            )
        if len(set(self.rows)) != classes or min(self.rows) < 0:
            raise ValueError("rows must be different and not negative")
        if not math.isclose(sum(self.training_prior), 1.0, abs_tol=1e-3):
            raise ValueError("training_prior must sum to 1")
        if min(self.training_prior) <= 0.0:
            raise ValueError("training_prior must be positive for every class")
        return self


class Parity(BaseModel):
    """How far an engine of the server and the merged model, in float32, say the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    """Name and version of what was compared with transformers."""
    dtype: str
    """Arithmetic of the engine."""
    items: int = Field(ge=1)
    max_probability_difference: Probability
    changed_label_share: Probability = 0.0
    """Share of the items whose most probable label of some head is another."""


class Manifest(BaseModel):
    """Everything a server must know that `config.json` cannot say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str = Field(min_length=1)
    created: str
    """ISO 8601 date."""
    base_model: str
    tasks: tuple[Task, ...] = Field(min_length=1)
    losses: dict[str, Any]
    """The loss and sampling options of the recipe."""
    data_sha256: dict[str, str]
    """File name → sha256 of the training data."""
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    graph_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of `model.onnx`; None for a checkpoint without one."""
    files_sha256: dict[str, str] = Field(default_factory=dict)
    """Of those of DECIDING_FILES that there are; a manifest that lacks it takes on those that
    lie beside it when it is read."""
    parity: tuple[Parity, ...] = ()
    """By engine and arithmetic; in float32 it is a proof, else the drift that was measured."""

    @model_validator(mode="after")
    def _check_tasks(self) -> "Manifest":
        names = [task.label_set.task for task in self.tasks]
        rows = [row for task in self.tasks for row in task.rows]
        if len(set(names)) != len(names):
            raise ValueError("a task appears twice")
        if len(set(rows)) != len(rows):
            raise ValueError("two tasks claim the same row of score.weight")
        return self

    @property
    def fingerprint(self) -> str:
        """Short name of all that decides an answer: weights, graph, tokenizer, configuration,
        and what the manifest says of each task but for how it was measured.

        Computed at each call; whoever needs it often keeps it.
        """
        # A field that a later release adds changes no name as long as it has its default.
        tasks = [
            task.model_dump(mode="json", exclude={"evaluation"}, exclude_defaults=True)
            for task in self.tasks
        ]
        deciding = [self.weights_sha256, self.graph_sha256, self.files_sha256, tasks]
        text = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def task(self, name: str) -> Task:
        """Return the task of that name; KeyError if the checkpoint does not serve it."""
        for task in self.tasks:
            if task.label_set.task == name:
                return task
        raise KeyError(name)


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write `manifest.json` in one step: a reader sees the old one or the new one."""
    manifest = manifest.model_copy(update={"format_version": FORMAT_VERSION})
    temporary = directory / (MANIFEST_NAME + ".tmp")
    temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(directory / MANIFEST_NAME)


def read_manifest(directory: Path, *, verify_weights: bool = True) -> Manifest:
    """Read and check the manifest of a checkpoint directory.

    Raises CheckpointError when it is missing, malformed, newer than this code, or
    (with `verify_weights`) when weights, graph, tokenizer or configuration are not those it was
    written for.
    """
    path = directory / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{directory} is no checkpoint: {MANIFEST_NAME} cannot be read ({error}); "
            "write one with `ncal train`"
        ) from error
    _check_version(text, path)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CheckpointError(f"{path} is malformed: {reasons}") from error
    if verify_weights:
        _verify_files(manifest, directory)
    if manifest.files_sha256:
        return manifest
    return manifest.model_copy(update={"files_sha256": hash_deciding_files(directory)})


def hash_deciding_files(directory: Path) -> dict[str, str]:
    """Return the sha256 of each of DECIDING_FILES that there is, by name."""
    paths = [directory / name for name in DECIDING_FILES]
    return {path.name: hash_file(path) for path in paths if path.exists()}


def _verify_files(manifest: Manifest, directory: Path) -> None:
    _verify_deciding_files(manifest, directory)
    if hash_file(directory / WEIGHTS_NAME) != manifest.weights_sha256:
        raise CheckpointError(
            f"{directory / WEIGHTS_NAME} is not the file {MANIFEST_NAME} was written for "
            "(sha256 differs); restore it or export the checkpoint again"
        )
    graph = directory / GRAPH_NAME
    if manifest.graph_sha256 is None:
        return
    if not graph.exists() or hash_file(graph) != manifest.graph_sha256:
        raise CheckpointError(
            f"{graph} is not the file {MANIFEST_NAME} was written for (missing, or its sha256 "
            f"differs); write it again with `ncal export --onnx-only {directory}`"
        )


def _verify_deciding_files(manifest: Manifest, directory: Path) -> None:
    if not manifest.files_sha256:  # of before they were written down
        return
    found = hash_deciding_files(directory)
    for name in DECIDING_FILES:
        if found.get(name) != manifest.files_sha256.get(name):
            raise CheckpointError(
                f"{directory / name} is not the file {MANIFEST_NAME} was written for (missing, "
                "added, or its sha256 differs); restore it or export the checkpoint again"
            )


def check_labels_agree(manifests: Iterable[Manifest]) -> None:
    """Raise CheckpointError when two checkpoints mean different labels by the same task.

    One of them could not answer for the other then: clients know a task by its labels.
    """
    known: dict[str, tuple[Manifest, LabelSet]] = {}
    for manifest in manifests:
        for task in manifest.tasks:
            labels = task.label_set
            first, others = known.setdefault(labels.task, (manifest, labels))
            if (labels.kind, labels.ids) != (others.kind, others.ids):
                raise CheckpointError(
                    f"{first.name} ({first.fingerprint}) and {manifest.name} "
                    f"({manifest.fingerprint}) serve task {labels.task!r} with different labels; "
                    "load only one, or export one with another name of the task"
                )


def hash_file(path: Path) -> str:
    """Return the sha256 of a file in hex; CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error


def _check_version(text: str, path: Path) -> None:
    class Version(BaseModel):
        format_version: int

    try:
        version = Version.model_validate_json(text).format_version
    except ValidationError as error:
        raise CheckpointError(f"{path} states no format_version") from error
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this release understands up to "
            f"{FORMAT_VERSION}; update NCAL Serve"
        )
