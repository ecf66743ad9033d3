"""Classification losses and the fixed head against slow references and finite differences."""

import math

import pytest
import torch
from torch import Tensor

from training.losses.losses import LossName, classification_loss, dot_regression, simplex_etf

PRIOR = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)


def _slow_classification(name: str, logits: Tensor, labels: Tensor, option: float) -> float:
    total = 0.0
    counts = [70, 20, 10]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if name == "logit-adjusted":
            weights = [math.exp(v) * (n / 100) ** option for v, n in zip(row, counts, strict=True)]
        elif name == "balanced-softmax":
            weights = [math.exp(v) * n for v, n in zip(row, counts, strict=True)]
        else:
            weights = [math.exp(v) for v in row]
        share = weights[label] / sum(weights)
        factor = (1 - share) ** option if name == "focal" else 1.0
        total -= factor * math.log(share)
    return total / len(labels)


@pytest.mark.parametrize(
    ("name", "option"),
    [("cross-entropy", 0.0), ("logit-adjusted", 1.0), ("logit-adjusted", 0.5),
     ("balanced-softmax", 0.0), ("focal", 2.0), ("focal", 0.5)],
)  # fmt: skip
def test_classification_losses_equal_slow_references(name: LossName, option: float) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(8, 3, dtype=torch.float64, generator=generator)
    logits.requires_grad_()
    labels = torch.randint(3, (8,), generator=generator)
    loss = classification_loss(name, logits, labels, PRIOR, tau=option, gamma=option)
    assert loss.item() == pytest.approx(_slow_classification(name, logits, labels, option))
    assert torch.autograd.gradcheck(
        lambda x: classification_loss(name, x, labels, PRIOR, tau=option, gamma=option), logits
    )


@pytest.mark.parametrize("name", ["cross-entropy", "logit-adjusted", "balanced-softmax"])
def test_an_uncertain_target_weighs_the_losses_of_its_labels(name: LossName) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[0.6, 0.3, 0.1], [0.0, 1.0, 0.0]], dtype=torch.float64)
    loss = classification_loss(name, logits, targets, PRIOR, tau=0.5)
    expected = sum(
        targets[row, label] * classification_loss(
            name, logits[row : row + 1], torch.tensor([label]), PRIOR, tau=0.5
        ) / 2
        for row in range(2)
        for label in range(3)
    )  # fmt: skip
    assert loss.item() == pytest.approx(float(expected))


def test_focal_loss_without_focus_is_cross_entropy_even_for_certain_answers() -> None:
    logits = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0])
    loss = classification_loss("focal", logits, labels, PRIOR, gamma=0.0)
    assert loss.item() == classification_loss("cross-entropy", logits, labels, PRIOR).item()
    torch.autograd.backward(classification_loss("focal", logits, labels, PRIOR, gamma=2.0))
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", ["cross-entropy", "logit-adjusted", "balanced-softmax", "focal"])
def test_task_without_rows_contributes_zero(name: LossName) -> None:
    logits = torch.empty(0, 3, requires_grad=True)
    loss = classification_loss(name, logits, torch.empty(0, dtype=torch.long), PRIOR)
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
    assert logits.grad is not None


def test_adjusted_logits_answer_for_a_uniform_prior() -> None:
    """Two classes, one binary feature, everything countable: the optimum is known."""
    # In class 0 the feature is on in 2 of 10 rows, in class 1 in 1 of 2.
    inputs = torch.tensor([1.0] * 2 + [0.0] * 8 + [1.0] + [0.0]).double()
    labels = torch.tensor([0] * 10 + [1] * 2)
    table = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    prior = torch.tensor([10 / 12, 2 / 12])
    optimizer = torch.optim.LBFGS([table], max_iter=200, tolerance_grad=1e-12)

    def step() -> float:
        optimizer.zero_grad()
        loss = classification_loss("logit-adjusted", table[inputs.long()], labels, prior)
        torch.autograd.backward(loss)
        return loss.item()

    optimizer.step(step)
    shares = table.detach().softmax(dim=1)
    assert shares[1, 1].item() == pytest.approx(0.5 / (0.5 + 0.2), abs=1e-4)
    assert shares[0, 1].item() == pytest.approx(0.5 / (0.5 + 0.8), abs=1e-4)


@pytest.mark.parametrize(("classes", "dim"), [(2, 1), (7, 6), (7, 7), (8, 256)])
def test_etf_gram_matrix(classes: int, dim: int) -> None:
    etf = simplex_etf(classes, dim, seed=11).double()
    expected = torch.full((classes, classes), -1.0 / (classes - 1), dtype=torch.float64)
    expected.fill_diagonal_(1.0)
    assert etf.shape == (classes, dim)
    assert torch.allclose(etf @ etf.T, expected, atol=1e-6)
    assert torch.allclose(etf.sum(dim=0), torch.zeros(dim, dtype=torch.float64), atol=1e-6)


def test_etf_is_set_by_its_seed() -> None:
    assert torch.equal(simplex_etf(4, 9, seed=1), simplex_etf(4, 9, seed=1))
    assert not torch.allclose(simplex_etf(4, 9, seed=1), simplex_etf(4, 9, seed=2))


def test_etf_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 6 dimensions"):
        simplex_etf(7, 5, seed=0)


def test_dot_regression() -> None:
    etf = simplex_etf(3, 5, seed=0).double()
    features, labels = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 3
    features.requires_grad_()
    expected = 0.0
    for row, label in zip(features, labels, strict=True):
        cosine = (row @ etf[label]).item() / row.norm().item()
        expected += 0.5 * (cosine - 1.0) ** 2 / len(labels)
    assert dot_regression(features, labels, etf).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: dot_regression(x, labels, etf), features)
    assert dot_regression(7.0 * etf, torch.arange(3), etf).item() < 1e-12
    assert dot_regression(features[:0], labels[:0], etf).item() == 0.0
