"""Reads the checkpoints the service is given, and refuses those it must not serve."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.inputs import Problem
from contract.manifest import CheckpointError, Manifest, Task, check_disjoint, read_manifest
from contract.prompts import PromptEncoder
from engine.tokenizer import CheckpointTokenizer

BUNDLED_CHECKPOINT = Path(__file__).resolve().parents[1] / "service" / "checkpoints" / "ncal-mini"
"""What is served when nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A directory whose manifest, weights and configuration agree."""

    directory: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def max_tokens(self) -> int:
        """The longest prompt of any of its tasks."""
        return max(task.max_tokens for task in self.manifest.tasks)

    @property
    def classes(self) -> int:
        """Rows of `score.weight` that some task reads."""
        return 1 + max(row for task in self.manifest.tasks for row in task.rows)


def load_checkpoints(directories: Sequence[Path]) -> list[Checkpoint]:
    """Read and check all checkpoints.

    Raises CheckpointError when one is missing, malformed, altered or newer than this
    release, when two share a task or a name, or when `config.json` has too few rows.
    """
    checkpoints = [_load_checkpoint(directory) for directory in directories]
    check_disjoint(checkpoint.manifest for checkpoint in checkpoints)
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) != len(names):
        raise CheckpointError("two checkpoints have the same name; rename one in its manifest")
    return checkpoints


def load_prompt_encoders(checkpoint: Checkpoint) -> dict[str, PromptEncoder]:
    """Return a prompt encoder for each task of the checkpoint, by task name."""
    try:
        tokenizer = CheckpointTokenizer(checkpoint.directory)
        return {
            task.label_set.task: _make_encoder(tokenizer, task)
            for task in checkpoint.manifest.tasks
        }
    except Exception as error:  # a damaged file can make the tokenizer raise anything
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"the tokenizer of {checkpoint.directory} cannot be used "
            f"({type(error).__name__}: {reason}); export the checkpoint again"
        ) from error


def _make_encoder(tokenizer: CheckpointTokenizer, task: Task) -> PromptEncoder:
    encoder = PromptEncoder(
        tokenizer,  # type: ignore[arg-type]
        version=task.prompt_version,
        max_tokens=task.max_tokens,
        window=task.window,
        frame=task.frame,
    )
    # The first call sets the tokenizer's options; later ones, from two threads, only read.
    encoder.encode([Problem(text="1")])
    return encoder


def _load_checkpoint(directory: Path) -> Checkpoint:
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is not there; name a checkpoint directory with --checkpoint"
        )
    checkpoint = Checkpoint(directory=directory, manifest=read_manifest(directory))
    _check_configuration(checkpoint)
    return checkpoint


def _check_configuration(checkpoint: Checkpoint) -> None:
    path = checkpoint.directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rows = len(config["id2label"])
        positions = config["max_position_embeddings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be used ({type(error).__name__}); export the checkpoint again"
        ) from error
    if rows < checkpoint.classes:
        raise CheckpointError(
            f"{path} has {rows} rows, the manifest reads row {checkpoint.classes - 1}; "
            "export the checkpoint again"
        )
    if positions < checkpoint.max_tokens:
        raise CheckpointError(
            f"{path} allows {positions} positions, the manifest {checkpoint.max_tokens} tokens; "
            "export the checkpoint again"
        )
