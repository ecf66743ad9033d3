"""What the machine can do, as far as a recipe depends on it."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The processor that trains."""

    gpu_gib: float
    """Memory of the GPU that torch sees; 0 without one."""
    has_bfloat16: bool
    """Whether products in bfloat16 are faster than in float32."""


def look_at_machine() -> Machine:
    """Ask torch and the system."""
    if torch.cuda.is_available():
        total = torch.cuda.mem_get_info()[1] / 2**30
        return Machine(gpu_gib=total, has_bfloat16=True)
    flags = torch.backends.cpu.get_cpu_capability()
    native = flags == "AVX512" and torch.cpu._is_avx512_bf16_supported()
    return Machine(gpu_gib=0.0, has_bfloat16=bool(native))
