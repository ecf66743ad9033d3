"""vLLM's kernels as the engine gets them, against RMSNorm in float64."""

import pytest
import torch
from vllm import ir
from vllm.platforms import current_platform

from engine.vllm.kernels import PROVIDER, choose_kernels

EPSILON = 1e-6
pytestmark = pytest.mark.skipif(not current_platform.is_cpu(), reason="GPUs have theirs from vLLM")


def normalise(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x.double(), x.shape[-1:], weight.double(), EPSILON)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_the_kernels_compute_rms_norm(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x, residual, weight = torch.randn(37, 256), torch.randn(37, 256), torch.randn(256)
    x, residual, weight = x.to(dtype), residual.to(dtype), weight.to(dtype)
    single = ir.ops.rms_norm.impls[PROVIDER]
    assert single.supports_args(x, weight, EPSILON)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(
        single.impl_fn(x, weight, EPSILON).double(), normalise(x, weight), **close
    )
    total = x + residual
    norm, kept = ir.ops.fused_add_rms_norm.impls[PROVIDER].impl_fn(x, residual, weight, EPSILON)
    torch.testing.assert_close(
        norm.double(), normalise(total, weight), rtol=4 * tolerance, atol=4 * tolerance
    )
    assert torch.equal(kept, total)


def test_what_the_kernels_do_not_know_is_left_to_vllm() -> None:
    x, weight = torch.randn(2, 256), torch.randn(256)
    for name in ("rms_norm", "fused_add_rms_norm"):
        assert getattr(choose_kernels(), name) == [PROVIDER]
        kernel = getattr(ir.ops, name).impls[PROVIDER]
        inputs = (x,) if name == "rms_norm" else (x, x)
        assert kernel.supports_args(*inputs, weight, EPSILON)
        assert not kernel.supports_args(*inputs, None, EPSILON)
        assert not kernel.supports_args(*inputs, weight.bfloat16(), EPSILON)
        assert not kernel.supports_args(*inputs, weight, EPSILON, 128)
