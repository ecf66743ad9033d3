"""Breaks things at random under mixed traffic: each request is answered, or refused as documented.

`python -m benchmarks.chaos [--minutes 30] [--engine vllm] [--seed 7]` starts a service and, while
all kinds of clients use it, kills it, tells it to stop, freezes it, fills the disk of its logs,
steps its clock, takes its descriptors, and sends it half requests and readers that read nothing.
In the first quarter of the time it is also ended, and started again as a supervisor would. It ends
with 0 when every answer was as it should be, connections broke only where the process ended or
had no descriptors left, and memory grew by less than `--max-growth-mib` from the second quarter
of the time to the last. The seed that it prints repeats the order of events.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import uvloop

from benchmarks.chaos.events import list_events
from benchmarks.chaos.run import Outcome, run_chaos
from benchmarks.chaos.supervisor import Supervisor
from benchmarks.soak import Vitals, describe_quarters, is_flat
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from engine.checkpoint import BUNDLED_CHECKPOINT
from engine.vllm.environment import prepare_environment
from service.settings import Settings

_MORE_FILES = 50.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("openvino", "vllm"), default="openvino")
    parser.add_argument("--seed", type=int, default=None, help="of the order of events")
    parser.add_argument(
        "--pause-s", type=float, default=15.0, help="mean pause of a client between its acts"
    )
    parser.add_argument("--max-growth-mib", type=float, default=16.0)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    arguments = parser.parse_args()
    settings = Settings(checkpoint=(arguments.checkpoint,), engine=arguments.engine)
    stop_cleanly_on_sigterm()
    prepare_environment(settings.engine_threads)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="ncal-chaos-"))
    print(f"seed {seed}; log of the service: {folder}", flush=True)
    with Supervisor(settings, folder) as supervisor:
        events, left_out = list_events(supervisor)
        for reason in left_out:
            print(f"left out: {reason}", flush=True)
        outcome = uvloop.run(
            run_chaos(
                supervisor, events, seconds=arguments.minutes * 60, pause_s=arguments.pause_s,
                seed=seed,
            )
        )  # fmt: skip
        exit_code = supervisor.stop()
    return _report(outcome, exit_code, arguments.max_growth_mib)


def _report(outcome: Outcome, exit_code: int, max_growth_mib: float) -> int:
    for title, counts in (
        ("events", outcome.events),
        ("done", outcome.done),
        ("cut off or refused while it ended", outcome.excused),
    ):
        print(f"{title}:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    for name, values in zip(Vitals._fields, zip(*outcome.vitals, strict=True), strict=True):
        medians = describe_quarters(list(values))
        print(f"{name} by quarter: {', '.join(f'{value:.0f}' for value in medians)}")
    growth = outcome.growth
    print("growth:", ", ".join(f"{name} {value:+.1f}" for name, value in growth._asdict().items()))
    print(f"faults: {len(outcome.faults)}; exit code of the service: {exit_code}")
    for fault in outcome.faults[:20]:
        print(" ", fault)
    holds = is_flat(growth, max_growth_mib=max_growth_mib, max_more_files=_MORE_FILES)
    return 0 if holds and not outcome.faults and exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
