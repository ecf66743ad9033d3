"""What a load costs through each protocol that the service speaks, beside our own.

`python -m benchmarks.protocols`: one service, the same texts, in turns, by one client. What counts
is the processor time of the service for an item, engine included: on a busy machine it is
steadier than items a second. The table is printed, and stands in docs/performance.md.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson

from benchmarks.load.connection import Address
from benchmarks.load.loops import run_all
from benchmarks.load.problems import make_problems
from benchmarks.load.samples import divide, spread
from benchmarks.systems.machine import count_cores, read_processor
from benchmarks.systems.processes import read_processor_s, stop_cleanly_on_sigterm
from benchmarks.systems.running import RunningService, start_service
from contract.labels import TIMSS
from engine.checkpoint import BUNDLED_CHECKPOINT
from service.settings import Settings

MOST = 1.1
"""Cost of another protocol over that of ours, at most."""
_OURS = "NCAL Serve"
_CLIENTS = 4
_BATCH = 64


class Form(NamedTuple):
    """One way to ask for texts."""

    path: str
    body: Any


class Cost(NamedTuple):
    """What the items of one turn took."""

    processor_ms: float
    """Of the service, for an item."""
    items_per_s: float


def make_forms(texts: Sequence[str]) -> dict[str, Form]:
    """How each protocol asks for the labels of some texts in one request."""
    return {
        _OURS: Form("/classify/problem/batch", {"items": [{"text": text} for text in texts]}),
        "vLLM": Form("/classify", {"model": TIMSS.task, "input": list(texts)}),
        "TEI": Form("/predict", {"inputs": [[text] for text in texts], "truncate": True}),
    }


def make_single_forms(text: str) -> dict[str, Form]:
    """How each protocol asks for the label of one text."""
    question = {"type": "choice", "criteria": dict.fromkeys(TIMSS.ids)}
    return {
        _OURS: Form("/classify/problem", {"text": text}),
        "System One": Form("/v1/systemone", {"state": text, "questions": {"label": question}}),
        "vLLM": Form("/classify", {"model": TIMSS.task, "input": text}),
        "TEI": Form("/predict", {"inputs": text, "truncate": True}),
    }


def measure(
    service: RunningService, requests: Mapping[str, Sequence[bytes]], items: int, turns: int
) -> dict[str, list[Cost]]:
    """Send the requests of each protocol in turns; each turn begins with another one."""
    costs: dict[str, list[Cost]] = {name: [] for name in requests}
    names = list(requests)
    for turn in range(turns + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before = read_processor_s(service.process.pid)
            seconds = asyncio.run(run_all(service.address, requests[name], _CLIENTS))
            used = read_processor_s(service.process.pid) - before
            if turn:  # the first warms up
                costs[name].append(Cost(1e3 * used / items, items / seconds))
    return costs


def encode(address: Address, forms: Sequence[Mapping[str, Form]]) -> dict[str, list[bytes]]:
    """The requests of each protocol."""
    return {
        name: [address.make_post(each[name].path, each[name].body) for each in forms]
        for name in forms[0]
    }


def make_rows(what: str, costs: Mapping[str, Sequence[Cost]]) -> list[str]:
    """Lines of the table; the ratio is the median of those of the turns."""
    ours = [cost.processor_ms for cost in costs[_OURS]]
    rows = []
    for name, found in costs.items():
        used = [cost.processor_ms for cost in found]
        ratios = divide(used, ours)
        verdict = "" if name == _OURS else "met" if median(ratios) <= MOST else "**missed**"
        rate = median(cost.items_per_s for cost in found)
        rows.append(
            f"| {what} | {name} | {median(used):.2f} ms | {median(ratios):.2f} "
            f"({spread(ratios)}) | {rate:.0f} items/s | {verdict} |"
        )
    return rows


def main() -> int:
    stop_cleanly_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--items", type=int, default=768, help="of a turn, with each protocol")
    parser.add_argument("--output", type=Path, help="JSON of all turns")
    arguments = parser.parse_args()
    texts = make_problems(arguments.items, seed=1)
    settings = Settings(checkpoint=(BUNDLED_CHECKPOINT,))
    with tempfile.TemporaryDirectory() as folder, start_service(settings, Path(folder)) as service:
        batches = [make_forms(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
        name = f"batches of {min(_BATCH, len(texts))}"
        singles = [make_single_forms(text) for text in texts]
        found = {
            what: measure(service, encode(service.address, forms), len(texts), arguments.turns)
            for what, forms in ((name, batches), ("single items", singles))
        }
    print(
        f"{read_processor()}, {count_cores()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{arguments.turns} turns of {arguments.items} problems, {_CLIENTS} clients\n"
    )
    print("| | protocol | processor time of an item | beside ours | | |")
    print("|---|---|---|---|---|---|")
    print("\n".join(row for what, costs in found.items() for row in make_rows(what, costs)))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
