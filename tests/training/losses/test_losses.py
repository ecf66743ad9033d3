"""The collapse loss against a slow reference, finite differences and two real processes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from training.losses.losses import Pairs, collapse_loss, gather_with_gradient, simplex_etf


def _slow_collapse(
    features: Tensor, labels: Tensor, classes: int, max_norm: float, pairs: str
) -> tuple[float, int]:
    """The formula of the paper with plain loops."""
    rows = features.tolist()
    terms = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            if pairs == "different" and labels[i] == labels[j]:
                continue
            product = 0.0
            norm_i = math.sqrt(sum(value * value for value in rows[i]))
            norm_j = math.sqrt(sum(value * value for value in rows[j]))
            for a, b in zip(rows[i], rows[j], strict=True):
                scaled_a = a * min(norm_i, max_norm) / norm_i
                scaled_b = b * min(norm_j, max_norm) / norm_j
                product += scaled_a * scaled_b
            terms.append((product + 1 / (classes - 1)) ** 2)
    return (sum(terms) / len(terms) if terms else 0.0), len(terms)


def _batch(seed: int, rows: int = 9, dim: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-1, 1, rows, dtype=torch.float64)[:, None]  # inside and outside E_W
    features = torch.randn(rows, dim, dtype=torch.float64, generator=generator) * scales
    return features, torch.randint(classes, (rows,), generator=generator)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 12),
    max_norm=st.sampled_from([0.3, 1.0, 5.0]),
    pairs=st.sampled_from(["different", "all"]),
)
def test_collapse_loss_equals_slow_reference(
    seed: int, rows: int, max_norm: float, pairs: Pairs
) -> None:
    features, labels = _batch(seed, rows)
    loss, count = collapse_loss(features, labels, 4, max_norm=max_norm, pairs=pairs)
    expected, expected_count = _slow_collapse(features, labels, 4, max_norm, pairs)
    assert count == expected_count
    assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("pairs", ["different", "all"])
def test_collapse_loss_gradient_equals_finite_differences(pairs: Pairs) -> None:
    features, labels = _batch(3)
    features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: collapse_loss(x, labels, 4, max_norm=1.0, pairs=pairs)[0], features
    )


def test_collapse_loss_does_not_depend_on_order() -> None:
    features, labels = _batch(5)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    loss, count = collapse_loss(features, labels, 4, max_norm=1.0)
    shuffled, shuffled_count = collapse_loss(features[order], labels[order], 4, max_norm=1.0)
    assert shuffled.item() == pytest.approx(loss.item(), rel=1e-12)
    assert shuffled_count == count


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_batch_without_a_pair_is_exactly_zero_with_zero_gradient(rows: int) -> None:
    features = torch.randn(rows, 6, requires_grad=True)
    loss, count = collapse_loss(features, torch.zeros(rows, dtype=torch.long), 4, max_norm=1.0)
    torch.autograd.backward(loss)
    assert (loss.item(), count) == (0.0, 0)
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_simplex_is_the_minimum_of_the_collapse_loss() -> None:
    etf = simplex_etf(5, 8, seed=2) * 40.0  # as long as hidden states are
    loss, count = collapse_loss(etf, torch.arange(5), 5, max_norm=1.0)
    assert count == 10
    assert loss.item() < 1e-12


def test_zero_feature_has_a_finite_gradient() -> None:
    features = torch.zeros(3, 4, requires_grad=True)
    loss, _ = collapse_loss(features, torch.arange(3), 3, max_norm=1.0)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(0.25)
    assert features.grad is not None and bool(features.grad.isfinite().all())


def test_nan_is_not_swallowed() -> None:
    features, labels = _batch(7)
    features[0, 0] = torch.nan
    assert collapse_loss(features, labels, 4, max_norm=1.0)[0].isnan()
    assert collapse_loss(features, torch.zeros_like(labels), 4, max_norm=1.0)[0].isnan()


def test_half_precision_features_are_summed_in_single() -> None:
    features, labels = _batch(8)
    half = features.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = collapse_loss(half, labels, 4, max_norm=1.0)
    exact, _ = collapse_loss(half.double(), labels, 4, max_norm=1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize(("classes", "max_norm"), [(1, 1.0), (4, 0.0)])
def test_collapse_loss_refuses_senseless_options(classes: int, max_norm: float) -> None:
    features, labels = _batch(1)
    with pytest.raises(ValueError, match="two classes"):
        collapse_loss(features, labels, classes, max_norm=max_norm)


def test_gather_is_identity_without_processes() -> None:
    tensor = torch.randn(2, 3)
    assert gather_with_gradient(tensor) is tensor


# Rows of rank 0 and rank 1: equal, ragged, one rank empty, no pair anywhere.
_SPLITS = {"equal": [6, 6], "ragged": [9, 3], "empty": [12, 0], "none": [0, 0]}


def _weighted_loss(features: Tensor, labels: Tensor, weight: Tensor) -> tuple[Tensor, int]:
    """The features pass a parameter first, as in a real model."""
    hidden = gather_with_gradient(features @ weight)
    return collapse_loss(hidden, gather_with_gradient(labels), 4, max_norm=1.0)


def _run_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        results: dict[str, Any] = {}
        for name, sizes in _SPLITS.items():
            features, labels = _batch(13, rows=sum(sizes))
            own = slice(0, sizes[0]) if rank == 0 else slice(sizes[0], None)
            weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
            loss, count = _weighted_loss(features[own], labels[own], weight)
            torch.autograd.backward(loss)
            assert weight.grad is not None
            dist.all_reduce(weight.grad)  # then the mean, as DistributedDataParallel has it
            results[name] = (loss.item(), count, weight.grad / 2)
        torch.save(results, Path(folder) / f"rank{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_equal_one_on_the_whole_batch(tmp_path: Path) -> None:
    spawn(_run_rank, args=(str(tmp_path),), nprocs=2)
    for name, sizes in _SPLITS.items():
        features, labels = _batch(13, rows=sum(sizes))
        weight = torch.eye(6, dtype=torch.float64, requires_grad=True)
        loss, count = _weighted_loss(features, labels, weight)
        torch.autograd.backward(loss)
        assert weight.grad is not None
        assert bool(weight.grad.any()) == (count > 0)
        for rank in range(2):
            found = torch.load(tmp_path / f"rank{rank}.pt")[name]
            assert found[0] == pytest.approx(loss.item(), rel=1e-12), name
            assert found[1] == count
            assert torch.allclose(found[2], weight.grad, rtol=1e-10, atol=1e-14), name
