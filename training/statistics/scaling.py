"""What is done to raw logits so that their softmax can be believed: a temperature and biases.

Bias-corrected temperature scaling (Alexandari et al., ICML 2020): logits / temperature + biases.
A temperature alone (Guo et al., ICML 2017) leaves the classes in the order that they have; but a
model that learned its training examples by heart is less sure of rare classes on new texts than
it should be, and only a bias for each class can mend that. Arrays are as in
`training.statistics.probabilities`; logits answer for a uniform prior before and after.
"""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from contract.manifest import Task
from training.statistics.probabilities import Floats, check_logits, take_softmax, weigh_items

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: without them perfect or hopeless answers would have none."""
_TO_THE_LAST_DIGIT = {"ftol": 1e-14, "gtol": 1e-10, "maxiter": 1000}


class Scaling(NamedTuple):
    """How a head's raw logits are read; `contract.predictions` does the same for one item."""

    temperature: float
    biases: Floats
    """(classes,)"""

    @classmethod
    def of(cls, task: Task) -> Self:
        """That of a manifest."""
        return cls(task.temperature, np.array(task.biases or np.zeros(len(task.rows))))

    def apply(self, logits: NDArray[np.floating]) -> Floats:
        """Calibrated logits (items, classes)."""
        scaled: Floats = np.asarray(logits, dtype=np.float64) / self.temperature + self.biases
        return scaled

    def describe(self) -> dict[str, Any]:
        """As it stands in a manifest and in results."""
        return {"temperature": self.temperature, "biases": self.biases.tolist()}


def fit_scaling(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, views: int = 1
) -> Scaling:
    """Fit both on items that the model was not trained on.

    Biases come first, then the temperature that goes with them. Each has its own class mix:
    that of the items tells most of the biases (their classes weighed alike, the few items of a
    rare class would say it all), while the temperature is for answers under the uniform prior.
    Where the rows hold every item `views` times (a turn with and without the turn after), an
    item counts once. Raises ValueError for arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    biases = fit_biases(scores, truth, views=views)
    return Scaling(fit_temperature(scores, truth, biases), biases)


def fit_biases(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, views: int = 1
) -> Floats:
    """One bias a class (K,), from the most probable scaling on items of their own class mix.

    The likelihood is that of the labels under the mix they have, beside a standard normal
    density of each bias: a class of few items is not moved far by them, one without any not at
    all. Convex in biases and 1/temperature together; the latter is fitted along and left.
    """
    scores, truth = check_logits(logits, labels)
    counts = np.bincount(truth, minlength=scores.shape[1])
    log_prior = np.full(len(counts), -np.inf)
    np.log(counts / len(truth), out=log_prior, where=counts > 0)
    own = np.eye(scores.shape[1])[truth]
    items = len(truth) / views

    def loss(point: Floats) -> tuple[float, Floats]:
        adjusted = scores * point[0] + point[1:] + log_prior
        probabilities = take_softmax(adjusted)
        likelihood = np.log(np.maximum(probabilities[own > 0.0], np.finfo(float).tiny)).sum()
        excess = probabilities - own
        slope = np.array([(excess * scores).sum(), *excess.sum(axis=0)]) / views
        slope[1:] += point[1:]
        return (0.5 * point[1:] @ point[1:] - likelihood / views) / items, slope / items

    bounds = [(1 / HOTTEST, 1 / COLDEST), *[(None, None)] * len(counts)]
    start = np.array([1.0, *np.zeros(len(counts))])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_TO_THE_LAST_DIGIT
    )
    biases: Floats = found.x[1:]
    return biases


def fit_temperature(
    logits: NDArray[np.floating], labels: NDArray[np.integer], biases: Floats | None = None
) -> float:
    """The temperature of highest likelihood under the uniform prior (Guo et al., ICML 2017).

    Every class weighs the same, as the raw `logits` (items, K) answer for a uniform prior;
    `biases` (K,) are added to the divided ones. In 1/T the loss is convex, so its derivative
    has one sign change, which is bisected to 1e-12 between the bounds. Raises ValueError for
    arrays that do not match.
    """
    scores, truth = check_logits(logits, labels)
    added = np.zeros(scores.shape[1]) if biases is None else biases
    weights = weigh_items(truth, np.full(scores.shape[1], 1.0 / scores.shape[1]))
    own = scores[np.arange(len(truth)), truth]
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    while high - low > 1e-12:
        middle = (low + high) / 2
        expected = (take_softmax(scores * math.exp(middle) + added) * scores).sum(axis=1)
        if weights @ (expected - own) > 0.0:  # derivative of the loss in 1/T
            high = middle
        else:
            low = middle
    return math.exp(-(low + high) / 2)
