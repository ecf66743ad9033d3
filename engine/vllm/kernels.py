"""RMSNorm on a CPU by vLLM's own C++ kernel, in a quarter of the time (float32).

vLLM has the kernel in its CPU build but offers it to GPUs alone: on a CPU it counts on
torch.compile to fuse the six operations that its Python fallback is made of. That needs a
C++ compiler and a slow start, and this service has neither. So the kernel is registered
here as one more provider of vLLM's operations (`vllm.ir`), and asked for by name.

To be imported in both processes: the one that makes the configuration and the engine's (see
`engine.vllm.worker`).
"""

import torch
from torch import Tensor
from vllm import ir
from vllm.config.kernel import IrOpPriorityConfig
from vllm.platforms import current_platform

PROVIDER = "ncal_cpu"
if current_platform.is_cpu():
    current_platform.import_kernels()
_IS_BUILT = current_platform.is_cpu() and hasattr(torch.ops._C, "fused_add_rms_norm")


def choose_kernels() -> IrOpPriorityConfig:
    """Return the engine's `ir_op_priority`; what these do not support is left to vLLM's own."""
    if not _IS_BUILT:
        return IrOpPriorityConfig()
    return IrOpPriorityConfig(rms_norm=[PROVIDER], fused_add_rms_norm=[PROVIDER])


def _is_plain(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> bool:
    return variance_size is None and weight is not None and weight.dtype == x.dtype


def _is_plain_sum(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _is_plain(x, weight, epsilon, variance_size)


@ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_is_plain, supported=_IS_BUILT)
def rms_norm(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> Tensor:
    """RMSNorm of the last dimension; sums in float32."""
    output = torch.empty_like(x)
    torch.ops._C.rms_norm(output, x, weight, epsilon)
    return output


@ir.ops.fused_add_rms_norm.register_impl(
    PROVIDER, supports_args=_is_plain_sum, supported=_IS_BUILT, inplace=True
)
def fused_add_rms_norm(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """RMSNorm of the sum, and the sum; both are written over the inputs."""
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual
