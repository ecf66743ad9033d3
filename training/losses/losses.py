"""The losses of training, as pure functions of one task's features or logits.

Every function takes the rows of one task only: a batch may mix tasks, whoever calls
picks the rows. A task without a row in the batch contributes an exact 0 that still
carries a gradient (of zeros), so that every rank runs the same backward pass.
"""

from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["cross-entropy", "logit-adjusted", "balanced-softmax", "focal"]
Pairs = Literal["different", "all"]


def collapse_loss(
    features: Tensor, labels: Tensor, classes: int, *, max_norm: float, pairs: Pairs = "different"
) -> tuple[Tensor, int]:
    """Text-modality collapse (TC), the ETF loss of NCAL (Hu et al., ICML 2025).

    `features` (batch, hidden) are cut to the ball of radius `max_norm` (the paper's E_W),
    h̃ = h·min(‖h‖, E_W)/‖h‖. The loss is the mean of (h̃ᵢᵀh̃ⱼ + 1/(K−1))² over the pairs
    i<j whose `labels` (batch,) differ, or over all pairs i<j. K is `classes`, the size of
    the label set and not the number of classes in the batch.

    E_W cuts and does not stretch, and the target −1/(K−1) does not grow with it. Hidden
    states after the final norm are far longer than 1, so with E_W = 1 (as in NCAL's code)
    all of them lie on the unit sphere, the inner products are cosines and the minimum is
    the simplex ETF.

    Returns the loss (computed in float32 at least) and the number of pairs it is the mean
    of. Without a pair it is exactly 0, with a gradient of zeros.
    """
    if classes < 2 or max_norm <= 0:
        raise ValueError("the collapse loss needs two classes or more and a positive max_norm")
    with torch.autocast(features.device.type, enabled=False):
        wide = _widen(features)
        norms = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        clipped = wide * (max_norm / norms.clamp_min(max_norm))
        products = clipped @ clipped.T  # (batch, batch)
        chosen = torch.ones_like(products, dtype=torch.bool).triu(diagonal=1)
        if pairs == "different":
            chosen &= labels[:, None] != labels[None, :]
        count = int(chosen.sum())
        if count == 0:
            return _zero(wide), 0
        return (products[chosen] + 1.0 / (classes - 1)).square().mean(), count


def classification_loss(
    name: LossName,
    logits: Tensor,
    labels: Tensor,
    prior: Tensor,
    *,
    tau: float = 1.0,
    gamma: float = 2.0,
) -> Tensor:
    """Mean loss of `logits` (batch, K) against `labels`, a scalar.

    `labels` are class indices (batch,) or, but for `focal`, probabilities (batch, K): the
    cross-entropies then are those of a target that is not certain.

    - `cross-entropy`: the logits answer for the class mix of the training data.
    - `logit-adjusted` (Menon et al., ICLR 2021): softmax of logits + τ·log prior, so the
      raw logits answer for a uniform prior when τ = 1.
    - `balanced-softmax` (Ren et al., NeurIPS 2020): the class counts weigh the exponentials
      of the softmax. It is logit adjustment with τ = 1: counts are priors times a constant.
    - `focal` (Lin et al., ICCV 2017): (1 − p)^γ · cross-entropy; answers for the class mix
      of the training data, and not as a probability.

    `prior` (K,) is the share of each class in what the batches are drawn from, all positive;
    `tau` is read by `logit-adjusted` and `gamma` by `focal` alone.
    """
    wide = _widen(logits)
    if len(labels) == 0:
        return _zero(wide)
    match name:
        case "cross-entropy":
            return F.cross_entropy(wide, labels)
        case "logit-adjusted":
            return F.cross_entropy(wide + tau * prior.to(wide).log(), labels)
        case "balanced-softmax":
            return F.cross_entropy(wide + prior.to(wide).log(), labels)
        case "focal":
            surprise = F.cross_entropy(wide, labels, reduction="none")  # −log p of the label
            return ((-torch.expm1(-surprise)) ** gamma * surprise).mean()


def cosine_logits(features: Tensor, head: Tensor, scale: float) -> Tensor:
    """scale · cos(h, w) for `features` (batch, hidden) and `head` (K, hidden): (batch, K)."""
    with torch.autocast(features.device.type, enabled=False):
        directions = F.normalize(_widen(features), dim=1)
        return scale * directions @ F.normalize(head.to(directions), dim=1).T


def dot_regression(features: Tensor, labels: Tensor, etf: Tensor) -> Tensor:
    """Dot-regression loss for a fixed ETF head (Yang et al., NeurIPS 2022), a scalar.

    ½·(w_yᵀĥ − 1)² with ĥ = h/‖h‖, averaged over `features` (batch, hidden); the rows of
    `etf` (K, hidden) have norm 1. Only the pull towards the own vertex is left: the push
    away from the others, which hurts rare classes, is gone.
    """
    with torch.autocast(features.device.type, enabled=False):
        wide = _widen(features)
        if len(labels) == 0:
            return _zero(wide)
        cosines = (F.normalize(wide, dim=1) * etf.to(wide)[labels]).sum(dim=1)
        return 0.5 * (cosines - 1.0).square().mean()


def simplex_etf(classes: int, dim: int, *, seed: int) -> Tensor:
    """Vertices of a regular simplex in a random orientation, shape (classes, dim), float32.

    Rows have norm 1 and inner products −1/(K−1): the equiangular tight frame to which
    neural collapse leads. Raises ValueError if `dim` has no room for it (dim < K−1).
    """
    if classes < 2 or dim < classes - 1:
        raise ValueError(f"a simplex of {classes} classes needs at least {classes - 1} dimensions")
    generator = torch.Generator().manual_seed(seed)
    # The K−1 directions orthogonal to the all-ones vector: drop the first column of QR.
    basis = torch.randn(classes, classes, dtype=torch.float64, generator=generator)
    basis[:, 0] = 1.0
    simplex = torch.linalg.qr(basis).Q[:, 1:]
    rotation = torch.randn(dim, classes - 1, dtype=torch.float64, generator=generator)
    etf: Tensor = simplex @ torch.linalg.qr(rotation).Q.T * (classes / (classes - 1)) ** 0.5
    return etf.float()


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The rows of all ranks, in rank order; gradients flow back to the rank they came from.

    Ranks may hold different numbers of rows, none included, but each must call. The
    backward pass sums over ranks what each asks of a row. When every rank computes the
    same loss of the gathered rows and gradients of parameters are then averaged, as
    DistributedDataParallel does, the result is the gradient of that one loss. Without
    torch.distributed the tensor itself is returned.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return tensor
    own = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own)
    gathered: Tensor = _Gather.apply(  # type: ignore[no-untyped-call]
        tensor, [int(size) for size in sizes]
    )
    return gathered


class _Gather(torch.autograd.Function):
    """all_gather of ragged tensors; torch's own is not differentiable or asks for equal sizes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int]) -> Tensor:
        ctx.start = sum(sizes[: dist.get_rank()])
        ctx.stop = ctx.start + len(tensor)
        padded = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.stop], None


def _widen(tensor: Tensor) -> Tensor:
    """Half precision is too coarse for sums of squares; float64 stays what it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _zero(tensor: Tensor) -> Tensor:
    """An exact 0 that depends on the tensor; a NaN or infinity in it stays visible."""
    return (tensor * 0.0).sum()
