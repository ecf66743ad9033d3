"""Files that are whole or not there: arrays and texts that a run keeps."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from training.errors import BadInput


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an `.npz` whole or not at all: one that exists is finished."""
    temporary = path.with_name(path.stem + ".partial.npz")
    try:
        np.savez(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(
            f"{path}: cannot be written: {error}; free space and run again, "
            "what was finished before is kept"
        ) from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `write_arrays` wrote; BadInput if it is missing or damaged."""
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: not trained yet; run `ncal crossvalidate`") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BadInput(f"{path}: cannot be read: {error}; remove it to train it anew") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; BadInput if it cannot be written."""
    # Processes that share a run write the same file: each needs a temporary one of its own.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # its folder may be what could not be made
            temporary.unlink()
        raise BadInput(
            f"{path}: cannot be written: {error}; free space or choose another place"
        ) from error
