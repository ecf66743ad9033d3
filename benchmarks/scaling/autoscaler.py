"""The arithmetic of Kubernetes' HorizontalPodAutoscaler (v2), as its documentation has it."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_TOLERANCE = 0.1
_ENGINE = "ncal_engine_utilization"
_QUEUE = "ncal_queue_tokens"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a manifest says."""

    utilization: float | None
    """Share of a replica that is in use, kept in the mean; None: not looked at."""
    queue_tokens: float | None
    """Tokens that wait, kept in the mean of the replicas; None: not looked at."""
    least: int = 2
    most: int = 8
    up_window_s: int = 30
    down_window_s: int = 600
    up_pods: int = 2
    """At most so many more in `up_period_s`."""
    up_period_s: int = 60
    down_pods: int = 1
    down_period_s: int = 120


def read_policy(resource: Mapping[str, Any], *, most: int | None = None) -> Policy:
    """Return what a HorizontalPodAutoscaler says; ValueError for a metric nobody knows here.

    `most`: instead of its `maxReplicas`.
    """
    spec = resource["spec"]
    utilizations, queue = [], None
    for metric in spec["metrics"]:
        if metric["type"] == "Resource" and metric["resource"]["name"] == "cpu":
            utilizations.append(metric["resource"]["target"]["averageUtilization"] / 100)
            continue
        name = metric["pods"]["metric"]["name"]
        value = parse_quantity(metric["pods"]["target"]["averageValue"])
        if name == _ENGINE:
            utilizations.append(value)
        elif name == _QUEUE:
            queue = value
        else:
            raise ValueError(f"the simulation knows no metric {name}")
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    return Policy(
        utilization=min(utilizations, default=None),
        queue_tokens=queue,
        least=spec["minReplicas"],
        most=most or spec["maxReplicas"],
        up_window_s=up["stabilizationWindowSeconds"],
        down_window_s=down["stabilizationWindowSeconds"],
        up_pods=up["policies"][0]["value"],
        up_period_s=up["policies"][0]["periodSeconds"],
        down_pods=down["policies"][0]["value"],
        down_period_s=down["policies"][0]["periodSeconds"],
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the one resource that a file holds."""
    resource: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return resource


def parse_quantity(text: str) -> float:
    """Return a quantity as Kubernetes writes it: `650m` is 0.65."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the autoscaler is shown: of each replica that is ready, and how many are not yet."""

    utilization: Sequence[float]
    queue_tokens: Sequence[float]
    starting: int


@dataclass
class Autoscaler:
    """Asked every 15 s; remembers what it recommended and what it changed."""

    policy: Policy
    _wishes: deque[tuple[int, int]] = field(default_factory=deque)
    _changes: deque[tuple[int, int]] = field(default_factory=deque)

    def decide(self, now: int, replicas: int, seen: Observation) -> int:
        """Return how many replicas there shall be."""
        policy = self.policy
        wishes = [
            _wish(values, target, seen.starting, replicas)
            for values, target in (
                (seen.utilization, policy.utilization),
                (seen.queue_tokens, policy.queue_tokens),
            )
            if target is not None
        ]
        wish = min(max(max(wishes), policy.least), policy.most)
        self._wishes.append((now, wish))
        while self._wishes[0][0] <= now - max(policy.up_window_s, policy.down_window_s, 1):
            self._wishes.popleft()
        low = min(wish, *self._recall(now, policy.up_window_s), wish)
        high = max(wish, *self._recall(now, policy.down_window_s), wish)
        wanted = self._limit(now, replicas, min(max(replicas, low), high))
        if wanted != replicas:
            self._changes.append((now, wanted - replicas))
        return wanted

    def _recall(self, now: int, window_s: int) -> list[int]:
        return [wish for moment, wish in self._wishes if moment > now - window_s]

    def _limit(self, now: int, replicas: int, wanted: int) -> int:
        """Change by no more than the policies allow in their periods."""
        policy = self.policy
        while self._changes and self._changes[0][0] <= now - max(
            policy.up_period_s, policy.down_period_s
        ):
            self._changes.popleft()
        added = sum(
            by for moment, by in self._changes if by > 0 and moment > now - policy.up_period_s
        )
        taken = -sum(
            by for moment, by in self._changes if by < 0 and moment > now - policy.down_period_s
        )
        most = max(replicas, replicas - added + policy.up_pods)
        least = min(replicas, replicas + taken - policy.down_pods)
        return min(max(wanted, least), most)


def _wish(values: Sequence[float], target: float, starting: int, replicas: int) -> int:
    """One metric's answer: replicas that are not ready count as idle when more are wanted, and as
    on target when fewer are, so that nothing is asked for twice."""
    if not values:
        return replicas
    ratio = sum(values) / len(values) / target
    if starting:
        filled = sum(values) + (0.0 if ratio > 1.0 else starting * target)
        new_ratio = filled / (len(values) + starting) / target
        if abs(new_ratio - 1.0) <= _TOLERANCE or (ratio > 1.0) != (new_ratio > 1.0):
            return replicas
        return math.ceil(new_ratio * (len(values) + starting))
    if abs(ratio - 1.0) <= _TOLERANCE:
        return replicas
    return math.ceil(ratio * len(values))
