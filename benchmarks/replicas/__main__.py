"""Replicas behind a load balancer: one dies, one hangs, all get another checkpoint, one is added.

`python -m benchmarks.replicas [--seconds 15]` starts HAProxy with the configuration of
deploy/haproxy before three replicas and sends single items, batches, streams and live dialogues
through it all the while. Every answer is held against that of the model alone. It prints a
Markdown table and ends with 0 when no item was lost or wrong, clients saw nothing but what
docs/replicas.md says, and the rollout did `--least-share` of what two replicas do.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import uvloop

from benchmarks.replicas.expected import Expected, make_second_checkpoint
from benchmarks.replicas.fleet import Fleet, Load, open_fleet
from benchmarks.replicas.ledger import CUT, Ledger
from benchmarks.systems.machine import count_cores, read_processor
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from engine.checkpoint import BUNDLED_CHECKPOINT

THREE, KILLED, HUNG, TWO, ROLLOUT, ADDED = (
    "three replicas", "one killed", "one hung", "two replicas", "another checkpoint", "one added",
)  # fmt: skip
_KINDS = ("single", "batch", "stream", "live")
_BROKEN = tuple(f"{kind} {outcome}" for kind in _KINDS for outcome in ("502", CUT))
DOCUMENTED: Mapping[str, tuple[str, ...]] = {
    KILLED: _BROKEN,
    HUNG: (*_BROKEN, *(f"{kind} 503" for kind in _KINDS)),
    ROLLOUT: ("stream draining", "live closed 1001"),
}
"""What clients may see beside answers, by part of the run; in the others nothing."""


async def measure(fleet: Fleet, options: argparse.Namespace, second: Path) -> Ledger:
    """Run the load through all that may happen; return the books of it."""
    expected = await _learn(fleet, options, second)
    load = Load(fleet.balancer.address, expected, clients=options.clients, pause_s=options.pause_s)
    load.ledger.begin(THREE)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(options.seconds)
    await _break(fleet, options, load.ledger)
    await _roll_out(fleet, options, load.ledger, second)
    load.ledger.begin(ADDED)
    await fleet.start("d", second)
    await asyncio.sleep(options.seconds)
    await load.stop(running)
    return load.ledger


async def _learn(fleet: Fleet, options: argparse.Namespace, second: Path) -> Expected:
    """Start all replicas, ask one with each checkpoint for its answers, stop the fourth again."""
    expected = Expected(options.texts, dialogues=8, turns=12)
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(fleet.start(name, options.checkpoint))
        group.create_task(fleet.start("d", second))
    await expected.learn(fleet.replicas["a"].address)
    await expected.learn(fleet.replicas["d"].address)
    await fleet.replicas["d"].stop()
    await fleet.wait_for("d", "DOWN")
    return expected


async def _break(fleet: Fleet, options: argparse.Namespace, ledger: Ledger) -> None:
    """One is killed and comes again; one hangs and goes on."""
    ledger.begin(KILLED)
    await fleet.kill("c")
    await asyncio.sleep(options.seconds)
    await fleet.start("c", options.checkpoint)
    ledger.begin(HUNG)
    await fleet.hang("b")
    await asyncio.sleep(options.seconds)
    fleet.replicas["b"].go_on()
    await fleet.wait_for("b", "UP")


async def _roll_out(
    fleet: Fleet, options: argparse.Namespace, ledger: Ledger, second: Path
) -> None:
    """Measure two replicas, then renew one after the other: two always serve."""
    fleet.balancer.set_state("a", "drain")
    ledger.begin(TWO)
    await asyncio.sleep(options.seconds)
    fleet.balancer.set_state("a", "ready")
    ledger.begin(ROLLOUT)
    for name in options.renew:
        await fleet.renew(name, second, is_told=not options.untold)


def find_faults(ledger: Ledger, least_share: float) -> list[str]:
    """Return what must not have been: lost, wrong, undocumented, or too slow."""
    faults = [f"a wrong answer to a {wrong}" for wrong in ledger.wrong]
    if ledger.lost:
        faults.append(f"{ledger.lost} items lost")
    if ledger.twice:
        faults.append(f"{ledger.twice} items answered twice")
    for phase in ledger.phases:
        for seen, count in phase.refusals.items():
            if seen not in DOCUMENTED.get(phase.name, ()):
                faults.append(f"{count} × {seen} in “{phase.name}”, which no page tells of")
    if (share := find_share(ledger)) < least_share:
        faults.append(f"the rollout did {share:.2f} of what two replicas do")
    return faults


def find_share(ledger: Ledger) -> float:
    """Return what the rollout did, divided by what two replicas do; 0 where these did nothing."""
    rates = {phase.name: phase.items_per_s for phase in ledger.phases}
    return rates[ROLLOUT] / rates[TWO] if rates[TWO] else 0.0


def describe(ledger: Ledger) -> str:
    """Return the books as Markdown."""
    lines = [
        f"{read_processor()}, {count_cores()} cores",
        "",
        "| | items/s | p99 of single items | seen by clients beside answers |",
        "|---|---|---|---|",
        *(phase.to_row() for phase in ledger.phases),
        "",
        f"{ledger.sent} items sent, {ledger.right} answered rightly, {len(ledger.wrong)} wrong, "
        f"{ledger.lost} lost; gone on elsewhere: "
        + ", ".join(f"{count} {what}" for what, count in ledger.resumed.items()),
        f"rollout ÷ two replicas: {find_share(ledger):.2f}",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each part of the run")
    parser.add_argument(
        "--clients", type=int, default=16, help="for single items; of each other kind a quarter"
    )
    parser.add_argument("--pause-s", type=float, default=0.02, help="mean pause of a client")
    parser.add_argument("--texts", type=int, default=500, help="different problems")
    parser.add_argument("--renew", nargs="+", choices=["a", "b", "c"], default=["a", "b", "c"])
    parser.add_argument(
        "--untold", action="store_true", help="the balancer finds out that replicas are renewed"
    )
    parser.add_argument(
        "--least-share", type=float, default=0.9, help="of two replicas' items, in the rollout"
    )
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    folder = Path(tempfile.mkdtemp(prefix="ncal-replicas-"))
    second = make_second_checkpoint(options.checkpoint, folder)
    with open_fleet(folder, "--engine-threads", "1") as fleet:
        ledger = uvloop.run(measure(fleet, options, second))
    print(describe(ledger))
    faults = find_faults(ledger, options.least_share)
    for fault in faults:
        print(f"fault: {fault}")
    print(f"logs: {folder}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
