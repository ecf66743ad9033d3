"""How an autoscaler follows a day of uneven traffic: the manifests have their thresholds from it.

`python -m benchmarks.scaling [--items 3e7]` simulates a day, second by second, with the
measured curve of one replica (benchmarks/scaling/curve.py) and the arithmetic of Kubernetes'
autoscaler, under the policies of deploy/kubernetes and under others, and prints a Markdown table.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.scaling.autoscaler import Policy, read_manifest, read_policy
from benchmarks.scaling.cluster import Outcome, World, simulate
from benchmarks.scaling.curve import CURVE, STRAIGHT
from benchmarks.scaling.day import make_day

_KUBERNETES = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
_BASE = _KUBERNETES / "base/autoscaler.yaml"
_COMPONENT = _KUBERNETES / "components/queue-autoscaling/autoscaler.yaml"
TARGETS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
_CURVES = {"batches": STRAIGHT, "single": CURVE}
ENOUGH = 32
"""Replicas that no day here needs: the bound of a manifest is a budget and not looked at."""


def read_policies() -> dict[str, Policy]:
    """Return what the manifests say, by who reads them."""
    base, component = read_manifest(_BASE), read_manifest(_COMPONENT)
    with_queue = base | {"spec": base["spec"] | component["spec"]}
    return {
        "base": read_policy(base, most=ENOUGH),
        "queue-autoscaling": read_policy(with_queue, most=ENOUGH),
    }


def is_good(outcome: Outcome) -> bool:
    """Whether nothing was refused, and no replica was taken away that was wanted again soon."""
    return not outcome.refused and not outcome.reversals


def list_alternatives(policy: Policy) -> dict[str, Policy]:
    """Return what else one might write into the manifest, by what it changes of the policy."""
    targets = {f"target {each:.0%}": replace(policy, utilization=each) for each in TARGETS}
    return targets | {
        "queue alone": replace(policy, utilization=None),
        "utilization alone": replace(policy, queue_tokens=None),
        "down after 2 min": replace(policy, down_window_s=120),
        "down after 5 min": replace(policy, down_window_s=300),
        "down after 10 min": replace(policy, down_window_s=600),
        "up at once": replace(policy, up_window_s=0),
        "up by 1 a minute": replace(policy, up_pods=1),
        "up by 4 a minute": replace(policy, up_pods=4),
    }


def make_table(outcomes: Mapping[str, Outcome]) -> str:
    """Return the outcomes as Markdown."""
    head = (
        "| | refused | lost | short of capacity: longest | in all | replicas beyond those needed "
        "| most | changes | taken away too soon |"
    )
    rows = [
        f"| {name} | {each.refused_share:.3%} | {each.lost} | {each.longest_short_s} s "
        f"| {each.short_s} s | {each.overshoot:.0%} | {each.most} | {each.changes} "
        f"| {each.reversals} |"
        for name, each in outcomes.items()
    ]
    return "\n".join([head, "|---" * 9 + "|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--items", type=float, default=3e7, help="of the day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--curve", choices=sorted(_CURVES), default="batches", help="of a replica")
    parser.add_argument(
        "--start-s", type=int, default=30, help="from the decision until a replica serves"
    )
    options = parser.parse_args()
    world = World(start_s=options.start_s, curve=_CURVES[options.curve])
    day = make_day(options.items, seed=options.seed)
    policies = read_policies()
    policies |= list_alternatives(policies["queue-autoscaling"])
    print(f"{sum(day):,} items, {max(day)} in the fullest second; capacity of a replica "
          f"{world.curve.capacity:.0f} items/s")  # fmt: skip
    print(make_table({name: simulate(policy, day, world) for name, policy in policies.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
