"""The manifests' thresholds and the simulated day that they follow from."""

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.scaling.__main__ import TARGETS, is_good, read_policies
from benchmarks.scaling.autoscaler import Autoscaler, Observation, Policy
from benchmarks.scaling.cluster import Outcome, World, simulate
from benchmarks.scaling.curve import CURVE, STRAIGHT, Curve, Point
from benchmarks.scaling.day import make_day
from service.settings import Settings

pytestmark = pytest.mark.slow

SEEDS = (1, 2)


@cache
def run(policy: Policy, seed: int, curve: Curve = STRAIGHT) -> Outcome:
    return simulate(policy, make_day(3e7, seed=seed), World(curve=curve))


@pytest.fixture
def policy() -> Policy:
    """What the manifests say where the queue is looked at too."""
    return read_policies()["queue-autoscaling"]


def test_the_target_is_the_highest_at_which_nothing_is_refused(policy: Policy) -> None:
    assert policy.utilization in TARGETS
    assert all(is_good(run(policy, seed)) for seed in SEEDS)
    assert is_good(run(policy, SEEDS[0], CURVE))
    higher = TARGETS[TARGETS.index(policy.utilization) + 1]
    assert not all(is_good(run(replace(policy, utilization=higher), seed)) for seed in SEEDS)


def test_the_target_does_without_the_queue(policy: Policy) -> None:
    """A plain cluster has nothing else."""
    base = read_policies()["base"]
    assert base.queue_tokens is None and base.utilization == policy.utilization
    assert is_good(run(base, SEEDS[0]))


def test_the_queue_alone_would_not_do(policy: Policy) -> None:
    assert run(replace(policy, utilization=None), SEEDS[0]).refused_share > 0.01


def test_what_is_taken_away_sooner_is_wanted_again(policy: Policy) -> None:
    assert run(policy, SEEDS[0]).reversals == 0
    hasty = run(replace(policy, down_window_s=policy.down_window_s // 3), SEEDS[0])
    assert hasty.reversals > 5
    assert hasty.changes > 2 * run(policy, SEEDS[0]).changes


def test_the_queue_asks_for_more_before_single_items_are_refused(policy: Policy) -> None:
    waits = Settings().max_wait_s * CURVE.capacity * World().tokens_per_item
    assert policy.queue_tokens is not None
    assert policy.queue_tokens <= 0.6 * waits


def test_the_curve_is_read_between_its_points() -> None:
    curve = Curve(capacity=1.0, points=(Point(0.5, 0.6, 0.0), Point(1.0, 1.0, 0.0)))
    found = [curve.find_utilization(load) for load in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([0.0, 0.3, 0.6, 0.8, 1.0])


def decide(replicas: int, utilization: float, *, starting: int = 0) -> int:
    policy = Policy(utilization=0.5, queue_tokens=None, most=20, up_window_s=0, up_pods=20)
    ready = replicas - starting
    seen = Observation(
        utilization=[utilization] * ready, queue_tokens=[0.0] * ready, starting=starting
    )
    return Autoscaler(policy).decide(0, replicas, seen)


def test_the_autoscaler_computes_as_kubernetes_documents_it() -> None:
    """ceil(replicas x value / target); a tenth off is near enough; who starts counts as idle."""
    assert decide(4, 1.0) == 8
    assert decide(4, 0.54) == 4
    assert decide(4, 0.6) == 5
    assert decide(4, 1.0, starting=2) == 4
    assert decide(4, 0.1) == 3  # by one in two minutes


def test_a_day_has_as_many_items_as_it_is_asked_for() -> None:
    assert sum(make_day(1e7, seed=3)) == pytest.approx(1e7, rel=0.01)
