"""From the rows of a head to probabilities: the arithmetic both sides must agree on."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from contract.manifest import Task

Prior = Literal["uniform", "training"]


class HeadAnswer(NamedTuple):
    """What a head says of one item."""

    logits: list[float]
    """Raw, in label order."""
    probabilities: list[float]
    """Calibrated, under the uniform prior, in label order."""
    prediction_set: list[int]
    """Indices of the labels in the conformal set, most probable first."""


def read_head(task: Task, scores: Sequence[float]) -> HeadAnswer:
    """Read the task's answer off all scores of the checkpoint.

    Raises ValueError when a logit is not finite: such an answer must never be given.
    """
    logits = select_rows(task, scores)
    probabilities = calibrate_logits(task, logits)
    return HeadAnswer(logits, probabilities, predict_set(task, probabilities))


def select_rows(task: Task, scores: Sequence[float]) -> list[float]:
    """Pick the task's logits from all scores of the checkpoint, in label order."""
    return [scores[row] for row in task.rows]


def calibrate_logits(task: Task, logits: Sequence[float], prior: Prior = "uniform") -> list[float]:
    """Return class probabilities for traffic of the given prior.

    `logits`, in label order, answer for a uniform prior; they are divided by the
    task's temperature, its biases and the log prior are added, and the softmax is
    taken (bias-corrected temperature scaling, Alexandari et al., ICML 2020). Raises
    ValueError when a logit is not finite: such an answer must never be served.
    """
    if not all(map(math.isfinite, logits)):
        raise ValueError("a logit is not finite")
    scaled = [logit / task.temperature for logit in logits]
    if task.biases:
        scaled = [value + bias for value, bias in zip(scaled, task.biases, strict=True)]
    if prior == "training":
        scaled = [
            value + math.log(share)
            for value, share in zip(scaled, task.training_prior, strict=True)
        ]
    peak = max(scaled)
    weights = [math.exp(value - peak) for value in scaled]
    total = sum(weights)
    return [weight / total for weight in weights]


def predict_set(task: Task, uniform_probabilities: Sequence[float]) -> list[int]:
    """Indices of the labels in the conformal prediction set, most probable first.

    The set is built from the probabilities under the uniform prior, whatever prior the
    answer states: class-conditional coverage does not depend on the class mix. It may
    be empty: the input then resembles no class.
    """
    chosen = [
        index
        for index, probability in enumerate(uniform_probabilities)
        if probability >= task.conformal_thresholds[index]
    ]
    return sorted(chosen, key=lambda index: -uniform_probabilities[index])
