"""Reads the checkpoints the service is given, and refuses those it must not serve."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.inputs import Problem
from contract.manifest import CheckpointError, Manifest, Task, check_labels_agree, read_manifest
from contract.prompts import PromptEncoder
from engine.tokenizer import CheckpointTokenizer

BUNDLED_CHECKPOINT = Path(__file__).resolve().parents[1] / "service" / "checkpoints" / "ncal-mini"
"""What is served when nothing else is asked for."""
DEFAULT_NAME = "default"
"""What clients call the checkpoint that answers when they name none; no other is called so."""
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A directory whose manifest, weights and configuration agree."""

    directory: Path
    manifest: Manifest
    alias: str | None = None
    """What the operator calls it, in place of the manifest's name."""

    @property
    def name(self) -> str:
        return self.alias or self.manifest.name

    @property
    def max_tokens(self) -> int:
        """The longest prompt of any of its tasks."""
        return max(task.max_tokens for task in self.manifest.tasks)

    @property
    def classes(self) -> int:
        """Rows of `score.weight` that some task reads."""
        return 1 + max(row for task in self.manifest.tasks for row in task.rows)


def load_checkpoints(places: Sequence[Path]) -> list[Checkpoint]:
    """Read and check all checkpoints, each in its directory or `NAME=DIRECTORY`.

    Raises CheckpointError when one is missing, malformed, altered or newer than this
    release, when `config.json` has too few rows, or when they cannot be served together.
    """
    found = [split_place(place) for place in places]
    checkpoints = [load_checkpoint(directory, alias=alias) for alias, directory in found]
    check_together(checkpoints)
    return checkpoints


def check_together(checkpoints: Iterable[Checkpoint]) -> None:
    """Raise CheckpointError when two share a name or a fingerprint, or mean different labels by
    the same task."""
    names: dict[str, Checkpoint] = {}
    for each in checkpoints:
        if each.name == DEFAULT_NAME:
            raise CheckpointError(
                f"no checkpoint can be called {DEFAULT_NAME!r}; give {each.directory} another "
                f"name: --checkpoint NAME={each.directory}"
            )
        if each.name in names:
            raise CheckpointError(
                f"two checkpoints are called {each.name}; give one another name: "
                f"--checkpoint NAME={each.directory}"
            )
        names[each.name] = each
    prints = [each.manifest.fingerprint for each in names.values()]
    if len(set(prints)) != len(prints):
        raise CheckpointError(
            f"two of {', '.join(names)} are the same checkpoint: they have one fingerprint; "
            "load it once"
        )
    check_labels_agree(each.manifest for each in names.values())


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
        instruction=task.label_set.instruction,
    )
    # The first call sets the tokenizer's options; later ones, from two threads, only read.
    encoder.encode([Problem(text="1")])
    return encoder


def split_place(place: Path) -> tuple[str | None, Path]:
    """Return name and directory of `NAME=DIRECTORY`; an existing directory of that whole name
    is one without a name."""
    named = None if place.is_dir() else _NAMED.fullmatch(str(place))
    return (None, place) if named is None else (named[1], Path(named[2]))


def load_checkpoint(directory: Path, *, alias: str | None = None) -> Checkpoint:
    """Read and check one checkpoint; raises CheckpointError as `load_checkpoints` does."""
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is not there; name a checkpoint directory with --checkpoint"
        )
    manifest = read_manifest(directory)
    checkpoint = Checkpoint(directory=directory, manifest=manifest, alias=alias)
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
