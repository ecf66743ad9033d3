"""How far neural collapse has come: NC1 to NC4 of Papyan, Han and Donoho (PNAS 2020)."""

import numpy as np
from numpy.typing import NDArray

from training.statistics.probabilities import Floats, Ints


def measure_collapse(
    features: NDArray[np.floating], labels: NDArray[np.integer], head: NDArray[np.floating]
) -> dict[str, float]:
    """NC1 to NC4 of one task, ready for JSON; under full collapse all but NC4 are 0, NC4 is 1.

    `features` (items, hidden) are the inputs of the head, `labels` (items,) class indices,
    `head` (K, hidden) the task's rows of `score.weight`. Every class weighs the same,
    however many items it has: the global mean is the mean of the class means. Head rows are
    centred too, for the softmax does not see their mean. Classes without items are left out.

    - `nc1`: tr(Σ_W Σ_B⁺)/K, spread within classes against spread between them.
    - `nc2_norms`: standard deviation of the lengths of the class means over their mean;
      `nc2_angles`: mean distance of their cosines from -1/(K-1), K being the classes that
      occur; `nc2_head_norms` and `nc2_head_angles`: the same of the head.
    - `nc3`: squared distance of head and class means, each scaled to Frobenius norm 1;
      0 is self-duality, 2 is orthogonal, 4 opposite.
    - `nc4`: share of items whose nearest class mean is the class the head answers.

    Raises ValueError if the arrays do not match or fewer than two classes occur.
    """
    points, truth, rows = _check(features, labels, head)
    present = np.unique(truth)
    means = np.stack([points[truth == index].mean(axis=0) for index in present])
    centred_means = means - means.mean(axis=0)
    centred_rows = rows[present] - rows[present].mean(axis=0)
    own = np.searchsorted(present, truth)
    return {
        "nc1": _within_over_between(points - means[own], own, centred_means),
        "nc2_norms": _norm_spread(centred_means),
        "nc2_angles": _angle_error(centred_means),
        "nc2_head_norms": _norm_spread(centred_rows),
        "nc2_head_angles": _angle_error(centred_rows),
        "nc3": float(np.square(_scale(centred_rows) - _scale(centred_means)).sum()),
        "nc4": _centre_agreement(points, means, rows[present]),
    }


def _check(
    features: NDArray[np.floating], labels: NDArray[np.integer], head: NDArray[np.floating]
) -> tuple[Floats, Ints, Floats]:
    points, rows = np.asarray(features, dtype=np.float64), np.asarray(head, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.int64)
    if points.ndim != 2 or truth.shape != points.shape[:1] or rows.shape[1:] != points.shape[1:]:
        raise ValueError(
            f"features {points.shape}, labels {truth.shape} and head {rows.shape} do not "
            "belong together"
        )
    if len(np.unique(truth)) < 2:
        raise ValueError("neural collapse needs items of two classes or more")
    if truth.min() < 0 or truth.max() >= len(rows):
        raise ValueError(f"a label is not in 0..{len(rows) - 1}")
    return points, truth, rows


def _within_over_between(deviations: Floats, own: Ints, centred_means: Floats) -> float:
    """tr(Σ_W Σ_B⁺)/K without a (hidden, hidden) matrix.

    With M the centred class means, Σ_B = MᵀM/K and Σ_B⁺ = K·M⁺M⁺ᵀ, so the trace is the
    mean square of the deviations seen through M⁺ (hidden, K).
    """
    seen = np.square(deviations @ np.linalg.pinv(centred_means, rcond=1e-10)).sum(axis=1)
    counts = np.bincount(own)
    return float((np.bincount(own, weights=seen) / counts).mean())


def _norm_spread(vectors: Floats) -> float:
    norms = np.linalg.norm(vectors, axis=1)
    return float(norms.std() / norms.mean())


def _angle_error(vectors: Floats) -> float:
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (directions @ directions.T)[np.triu_indices(len(vectors), k=1)]
    return float(np.abs(cosines + 1.0 / (len(vectors) - 1)).mean())


def _scale(matrix: Floats) -> Floats:
    scaled: Floats = matrix / np.linalg.norm(matrix)
    return scaled


def _centre_agreement(points: Floats, means: Floats, rows: Floats) -> float:
    # ‖x - μ‖² without ‖x‖², which is the same for all centres.
    distances = np.square(means).sum(axis=1) - 2.0 * points @ means.T
    return float((distances.argmin(axis=1) == (points @ rows.T).argmax(axis=1)).mean())
