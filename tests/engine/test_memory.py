"""How much is left is read from the machine and its containers, never from this one."""

import os
from pathlib import Path

import pytest

from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoint
from engine.memory import estimate_bytes, find_free_bytes

MIB = 1 << 20
MACHINE = {"proc/meminfo": "MemTotal:  9000 kB\nMemAvailable:    8192 kB\n"}
SECOND = "sys/fs/cgroup/pods/one/memory"
FIRST = "sys/fs/cgroup/memory/docker/one/memory"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MACHINE, 8 * MIB),
        (
            MACHINE
            | {
                "proc/self/cgroup": "0::/pods/one",
                f"{SECOND}.max": str(6 * MIB),
                f"{SECOND}.current": str(5 * MIB),
                f"{SECOND}.stat": f"anon 1\ninactive_file {2 * MIB}\n",
            },
            3 * MIB,
        ),
        (
            MACHINE
            | {
                "proc/self/cgroup": "0::/pods/one",
                f"{SECOND}.max": "max",
                f"{SECOND}.current": str(5 * MIB),
                "sys/fs/cgroup/pods/memory.max": str(4 * MIB),
                "sys/fs/cgroup/pods/memory.current": str(5 * MIB),
            },
            0,
        ),
        (
            MACHINE
            | {
                "proc/self/cgroup": "5:memory:/docker/one\n4:cpu,cpuacct:/docker/one\n",
                f"{FIRST}.limit_in_bytes": str(6 * MIB),
                f"{FIRST}.usage_in_bytes": str(5 * MIB),
                f"{FIRST}.stat": f"total_inactive_file {MIB}\n",
            },
            2 * MIB,
        ),
    ],
)
def test_the_least_of_machine_and_containers_is_left(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find_free_bytes(tmp_path) == free


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="only Linux says")
def test_this_machine_says_what_is_left() -> None:
    free = find_free_bytes()
    assert free is not None and free > 0


def test_a_checkpoint_takes_more_in_a_wider_arithmetic() -> None:
    checkpoint = load_checkpoint(BUNDLED_CHECKPOINT)
    wide, narrow = (estimate_bytes(checkpoint, dtype) for dtype in ("float32", "bfloat16"))
    weights = (BUNDLED_CHECKPOINT / "model.safetensors").stat().st_size
    assert narrow > weights and wide - narrow > weights
