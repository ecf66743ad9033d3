"""How much memory is left for one more engine on a CPU, and how much a checkpoint takes there."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

from contract.manifest import WEIGHTS_NAME, CheckpointError
from engine.checkpoint import Checkpoint
from engine.cores import find_groups, read_text
from engine.protocol import Dtype

_BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_WORK_SHARE = 0.5
"""Beside the weights: what the runtime keeps of them in its own order, and its buffers."""
_WORK_BYTES = 160 << 20
"""Whatever the size of the checkpoint: prepared shapes, tokenizer, threads. The bundled one took
176 to 196 MiB of an estimate of 208 (AMD EPYC, 2026-11-29)."""
_MOST_HEAD_BYTES = 100_000_000
"""Of the format itself."""


def estimate_bytes(checkpoint: Checkpoint, dtype: Dtype) -> int:
    """Return about how much memory an engine on a CPU takes with the checkpoint under load."""
    parameters = _count_parameters(checkpoint.directory / WEIGHTS_NAME)
    return round(parameters * _BYTES[dtype] * (1 + _WORK_SHARE)) + _WORK_BYTES


def find_free_bytes(root: Path = Path("/")) -> int | None:
    """Return what machine and container can still give; None where that cannot be told.

    `root` is that of the file system in which Linux shows its memory and control groups.
    """
    return min(_read_free(root), default=None)


def _read_free(root: Path) -> Iterator[int]:
    machine = _read_words(root / "proc/meminfo").get("MemAvailable:")
    if machine is not None:
        yield machine * 1024
    for group, is_second in find_groups(root, "memory"):
        limit = _read_number(group / ("memory.max" if is_second else "memory.limit_in_bytes"))
        used = _read_number(group / ("memory.current" if is_second else "memory.usage_in_bytes"))
        if limit is not None and used is not None:
            # Files that were read and are not in use give way.
            words = _read_words(group / "memory.stat")
            cached = words.get("inactive_file" if is_second else "total_inactive_file", 0)
            yield max(0, limit - used + cached)


def _read_number(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text.isdecimal() else None  # `max` is no limit


def _read_words(path: Path) -> dict[str, int]:
    """The number behind each first word of a line."""
    parts = [line.split() for line in read_text(path).splitlines()]
    return {part[0]: int(part[1]) for part in parts if len(part) > 1 and part[1].isdecimal()}


def _count_parameters(path: Path) -> int:
    """The numbers in a safetensors file, from its head."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > _MOST_HEAD_BYTES:
                raise ValueError("its head is too large")
            head = json.loads(file.read(size))
        shapes = [each["shape"] for name, each in head.items() if name != "__metadata__"]
        return sum(math.prod(shape) for shape in shapes)
    except (OSError, struct.error, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be used ({type(error).__name__}); export the checkpoint again"
        ) from error
