"""How many processor cores this process may really use: those of its container, not the machine's.

More threads than that wait for each other: the kernel takes the processor away from a group
that has used up its share of a period, in the middle of a step.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def count_usable_cores(root: Path = Path("/")) -> int:
    """Return the cores of affinity mask and quota, at least 1; a quota is rounded down.

    `root` is that of the file system in which Linux shows its control groups.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = min(_read_quotas(root), default=math.inf)
    return max(1, math.floor(min(cores, quota)))


def find_groups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process's control groups for `cpu` or `memory` and of all above
    them, and whether each is of version 2."""
    mount = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from ((group, True) for group in _climb(mount, path))
        elif controller in controllers.split(","):
            for name in (controllers, controller):
                yield from ((group, False) for group in _climb(mount / name, path))


def _read_quotas(root: Path) -> Iterator[float]:
    """Yield the limits of this process's groups and of all above them, in cores."""
    for group, is_second in find_groups(root, "cpu"):
        if is_second:
            yield _divide(*read_text(group / "cpu.max").split())
        else:
            quota = read_text(group / "cpu.cfs_quota_us")
            yield _divide(quota, read_text(group / "cpu.cfs_period_us"))


def _climb(mount: Path, path: str) -> Iterator[Path]:
    """A group and those above it; in a container its own is often the mount itself."""
    parts = PurePosixPath(path).parts[1:]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _divide(quota: str = "max", period: str = "") -> float:
    try:
        cores = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # `max`, or no such file: no limit
        return math.inf
    return cores if cores > 0 else math.inf  # version 1 says -1


def read_text(path: Path) -> str:
    """Return what a small file of the kernel says; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
