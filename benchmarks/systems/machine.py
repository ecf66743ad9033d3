"""The machine that is measured on: its processor, and the most that it can multiply.

`python -m benchmarks.systems.machine [float32|bfloat16]` prints the peak of a matrix product by
torch on all cores that this process may use, in GFLOP/s.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Literal

from contract.manifest import CheckpointError

Precision = Literal["float32", "bfloat16"]
_SIDE = 2048
_RUNS = 8
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, on x86 and on ARM."""


def read_processor() -> str:
    """Return the processor's name and what it has that matters here."""
    text = _read_cpuinfo()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    flags = sorted(_read_flags() & {*_BFLOAT16_FLAGS, "avx512f", "avx2", "amx_tile"})
    return f"{(names or [platform.processor() or platform.machine()])[0]} ({', '.join(flags)})"


def has_bfloat16() -> bool:
    """Whether it multiplies bfloat16 itself."""
    return bool(_read_flags() & _BFLOAT16_FLAGS)


def count_cores() -> int:
    return len(os.sched_getaffinity(0))


def count_operations(checkpoint: Path) -> float:
    """Return the floating point operations of one token in a decoder's matrix products.

    Two for each weight of the layers; attention itself, short here, is left out, and so is the
    embedding, which is looked up.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        size = config.get("head_dim") or hidden // heads
        attention = 2 * hidden * size * (heads + (config.get("num_key_value_heads") or heads))
        layer = attention + 3 * hidden * config["intermediate_size"]
        return float(2 * layer * config["num_hidden_layers"])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{checkpoint}/config.json describes no decoder") from error


def measure_peak(precision: Precision) -> float:
    """Return the best of a few matrix products, in GFLOP/s."""
    import torch

    torch.set_num_threads(count_cores())
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    left, right = torch.randn(_SIDE, _SIDE).to(dtype), torch.randn(_SIDE, _SIDE).to(dtype)
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        torch.matmul(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * _SIDE**3 / min(seconds) / 1e9


def _read_cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return ""


def _read_flags() -> set[str]:
    return {
        flag
        for line in _read_cpuinfo().splitlines()
        if line.startswith(("flags", "Features"))
        for flag in line.partition(":")[2].split()
    }


if __name__ == "__main__":
    print(measure_peak("bfloat16" if "bfloat16" in sys.argv else "float32"))
