"""What is looked at before a checkpoint is loaded beside others."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from contract.manifest import CheckpointError
from engine.checkpoint import Checkpoint, check_together
from engine.memory import estimate_bytes
from engine.protocol import Dtype
from service.errors import Conflict, InvalidInput, Reason

_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}")
_MIB = 1 << 20


def find_directory(folder: Path | None, place: str) -> Path:
    """Return the directory at `place` below the folder that the operator has set.

    Raises InvalidInput unless it lies there, links followed, and Conflict without a folder.
    """
    if folder is None:
        raise Conflict("nothing may be loaded: the operator has set no --checkpoint-folder")
    if not _PLACE.fullmatch(place):
        raise refuse("must be a path below the folder for checkpoints, as a/b")
    with suppress(OSError):
        found = (folder / place).resolve(strict=True)
        if found.is_dir() and found.is_relative_to(folder.resolve()):
            return found
    raise refuse("no such directory below the folder for checkpoints")


def check_beside(
    checkpoint: Checkpoint, others: Sequence[Checkpoint], fingerprint: str | None
) -> None:
    """Raise CheckpointError when it has another fingerprint than it should, if one is given, or
    cannot be served beside the others."""
    found = checkpoint.manifest.fingerprint
    if fingerprint not in (None, found):
        raise CheckpointError(f"its fingerprint is {found}, and not the one that is expected")
    check_together([*others, checkpoint])


def check_memory(checkpoint: Checkpoint, dtype: Dtype, free_bytes: int | None) -> None:
    """Raise Conflict when it takes more memory than is left; None: that is not known."""
    needed = estimate_bytes(checkpoint, dtype)
    if free_bytes is not None and needed > free_bytes:
        raise Conflict(
            f"the checkpoint takes about {needed // _MIB:,} MiB of memory and "
            f"{free_bytes // _MIB:,} MiB are left; drop another one first"
        )


def refuse(reason: str) -> InvalidInput:
    """An error of the checkpoint that was asked for."""
    return InvalidInput("the change cannot be made", reasons=[Reason("checkpoint", reason)])
