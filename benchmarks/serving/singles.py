"""Items that come one by one: of many clients, and of one alone."""

import asyncio
from statistics import median

from benchmarks.load.connection import Address
from benchmarks.load.loops import run_one_by_one
from benchmarks.load.samples import count_rate, divide, drop_beginning, middle, tail
from benchmarks.results import Result
from benchmarks.serving.bench import CLIENTS, PROBLEM, Bench, count_refused, run_clients, take

_VLLM = "vllm serve"
_PAUSE_S = 0.02


def measure_singles(bench: Bench) -> None:
    """Many concurrent clients; every system in turn."""
    systems: dict[str, tuple[Address, list[bytes]]] = {
        name: (address, bench.make_peer_singles(address)) for name, address in bench.servers.items()
    }
    if bench.service_on_vllm is not None:
        systems["NCAL Serve on vLLM"] = (bench.service_on_vllm.address, bench.singles)
    systems["NCAL Serve"] = (bench.service.address, bench.singles)
    rates: dict[str, list[float]] = {name: [] for name in systems}
    tails: dict[str, list[float]] = {name: [] for name in systems}
    details: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    for _ in range(bench.size.turns):
        for name, (address, requests) in systems.items():
            samples = run_clients(address, requests, CLIENTS, bench.size)
            steady = drop_beginning(samples, bench.size)
            taken = [sample for sample in steady if sample.status == 200]
            rates[name].append(count_rate(samples, bench.size))
            tails[name].append(tail(taken))
            details[name].append(
                {
                    "items_per_s": rates[name][-1], "p50_ms": 1e3 * middle(taken),
                    "p99_ms": 1e3 * tail(taken), "refused_share": count_refused(steady),
                }
            )  # fmt: skip
    bench.report.details[f"single items, {CLIENTS} clients"] = details
    ours, late = rates["NCAL Serve"], tails["NCAL Serve"]
    p50 = median(each["p50_ms"] for each in details["NCAL Serve"])
    for name in systems:
        if name == "NCAL Serve":
            continue
        ratios, shares = divide(ours, rates[name]), divide(late, tails[name])
        is_aim = name == _VLLM
        bench.report.results += [
            Result(
                name=f"Single items, {CLIENTS} clients", ours=f"{median(ours):.0f} items/s",
                peer=f"{name}, {median(rates[name]):.0f} items/s",
                ratio=median(ratios), target=3.0 if is_aim else 1.0, runs=ratios,
            ),
            Result(
                name=f"Single items, {CLIENTS} clients: p99",
                ours=f"{1e3 * median(late):.0f} ms (p50 {p50:.0f})",
                peer=f"{name}, {1e3 * median(tails[name]):.0f} ms", ratio=median(shares),
                target=0.33 if is_aim else 1.0, lower_is_better=True, runs=shares,
            ),
        ]  # fmt: skip


def measure_idle_latency(bench: Bench) -> None:
    """One request at a time: how long it takes, and how much of that the engine does not."""
    assert bench.engine is not None
    service, engine, added = [], [], []
    for turn in range(bench.size.turns):
        texts = take(bench.texts, bench.size.idle_requests, turn)
        order = {"texts": texts, "pause_s": _PAUSE_S}
        engine.append(1e3 * median(bench.engine.ask(order)["latencies_s"]))
        requests = [bench.service.address.make_post(PROBLEM, {"text": text}) for text in texts]
        latencies_s = asyncio.run(run_one_by_one(bench.service.address, requests, _PAUSE_S))
        service.append(1e3 * median(latencies_s))
        added.append(service[-1] - engine[-1])
    bench.report.results += [
        Result(
            name="One idle item, end to end", ours=f"{median(service):.2f} ms",
            ratio=median(service), target=8.0, lower_is_better=True, unit="ms", runs=service,
        ),
        Result(
            name="One idle item, beyond the engine", ours=f"{median(service):.2f} ms",
            peer=f"the engine alone, {median(engine):.2f} ms", ratio=median(added), target=2.0,
            lower_is_better=True, unit="ms", runs=added,
        ),
    ]  # fmt: skip
