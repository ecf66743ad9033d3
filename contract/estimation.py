"""The class mix of items that come together, from their own answers.

Expectation maximisation (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002) finds
the mix of highest likelihood, here with a Dirichlet density around the mix of the training data,
so that few items do not say more than they know. Probabilities are calibrated ones for the
uniform prior, in label order.
"""

import math
from collections.abc import Sequence
from operator import mul

from contract.priors import Mix, normalize_shares

STRENGTH = 10.0
"""Items that the mix of the training data counts for. Chosen by simulation (`ncal
mixes`): less is worse for few items of a like mix, more for items of another mix."""
FLOOR = 0.001
"""Least share of a class: what did not occur may occur yet."""
MOST_ITEMS = 20_000
"""More tell nothing more: a sample of so many is as good."""
_MOST_CYCLES = 40
_SETTLED = 1e-6
_LONGEST = 16.0
_LEAST = 1e-9
_NORMAL_95 = 1.959964


def estimate_mix(training: Sequence[float], items: Sequence[Sequence[float]]) -> Mix:
    """The class mix of items from their probabilities (items, K), and 95% intervals.

    `training` (K,) is the mix of the training data. The maximum a posteriori by expectation
    maximisation; intervals from the observed information of likelihood and density.
    Without items it is the training mix. Deterministic.
    """
    anchor = normalize_shares(training)
    columns = list(zip(*items, strict=True)) or [()] * len(anchor)
    shares = _climb(anchor, items, columns)
    shares = normalize_shares([max(share, FLOOR) for share in shares])
    scales = _scale_items(items, shares)
    ratios = [list(map(mul, column, scales)) for column in columns]
    return Mix("estimated", shares, _find_intervals(anchor, shares, ratios), len(items))


def _climb(
    anchor: Sequence[float], items: Sequence[Sequence[float]], columns: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    """The fixed point of expectation maximisation.

    Two steps tell the direction in which a third would creep on; it is gone at once (SQUAREM,
    Varadhan and Roland, Scandinavian Journal of Statistics 35, 2008), and a step from there
    mends what was too far. `columns` (K, items) are the items' probabilities by class.
    """

    def step(shares: Sequence[float]) -> tuple[float, ...]:
        scales = _scale_items(items, shares)
        return normalize_shares([
            STRENGTH * own + share * sum(map(mul, column, scales))
            for own, share, column in zip(anchor, shares, columns, strict=True)
        ])  # fmt: skip

    start = tuple(anchor)
    for _ in range(_MOST_CYCLES):
        first = step(start)
        second = step(first)
        moves = [new - old for new, old in zip(first, start, strict=True)]
        bends = [
            new - 2.0 * middle + old for new, middle, old in zip(second, first, start, strict=True)
        ]
        if math.hypot(*moves) < _SETTLED or not any(bends):
            return second
        length = min(_LONGEST, max(1.0, math.hypot(*moves) / math.hypot(*bends)))
        leap = [
            max(_LEAST, old + 2.0 * length * move + length**2 * bend)
            for old, move, bend in zip(start, moves, bends, strict=True)
        ]
        start = step(normalize_shares(leap))
    return start


def _scale_items(items: Sequence[Sequence[float]], shares: Sequence[float]) -> list[float]:
    """What normalises the shifted probabilities of each item."""
    return [1.0 / sum(map(mul, item, shares)) for item in items]


def _find_intervals(
    anchor: Sequence[float], shares: Sequence[float], ratios: Sequence[Sequence[float]]
) -> tuple[tuple[float, float], ...]:
    """Normal intervals from the inverse information on the simplex, cut at 0 and 1.

    It is A⁻¹ - A⁻¹11ᵀA⁻¹/(1ᵀA⁻¹1) with A the negative Hessian. `ratios` (K, items) are the
    derivatives of the log likelihood of each item.
    """
    classes = range(len(shares))
    hessian = [
        [
            sum(map(mul, ratios[i], ratios[j]))
            + (STRENGTH * anchor[i] / shares[i] ** 2 if i == j else 0.0)
            for j in classes
        ]
        for i in classes
    ]
    inverse = _invert(hessian)
    sums = [math.fsum(row) for row in inverse]
    whole = math.fsum(sums)
    spreads = [
        _NORMAL_95 * math.sqrt(max(0.0, inverse[i][i] - sums[i] ** 2 / whole)) for i in classes
    ]
    return tuple(
        (max(0.0, share - spread), min(1.0, share + spread))
        for share, spread in zip(shares, spreads, strict=True)
    )


def _invert(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Inverse of a positive definite matrix (Gauss-Jordan without pivoting)."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i, row in enumerate(rows):
        scale = 1.0 / row[i]
        row[:] = [value * scale for value in row]
        for k, other in enumerate(rows):
            if k != i and other[i]:
                factor = other[i]
                other[:] = [value - factor * own for value, own in zip(other, row, strict=True)]
    return [row[size:] for row in rows]
