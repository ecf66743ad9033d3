"""Four times as many requests as the service can take, against just as many."""

import asyncio
from collections.abc import Sequence
from statistics import median

from benchmarks.load.loops import run_open_loop
from benchmarks.load.samples import Sample, count_rate, divide, drop_beginning, middle, tail
from benchmarks.results import Result
from benchmarks.serving.bench import Bench, count_refused, run_clients

OVERLOAD = 4.0
_CLIENTS = (128, 96, 64, 48, 32, 16, 8)
_AT_CAPACITY = 0.01
"""Share of refusals up to which a load is one that the service can take."""


def find_capacity(bench: Bench, first: int) -> tuple[int, list[Sample]]:
    """Return the most clients, of so many or fewer, that are hardly refused, and their samples.

    How many that are is the machine's: on a slow one a queue of 128 waits longer than an item is
    accepted for.
    """
    samples: list[Sample] = []
    for clients in _CLIENTS:
        if clients <= first:
            samples = run_clients(bench.service.address, bench.singles, clients, bench.size)
            if count_refused(drop_beginning(samples, bench.size)) <= _AT_CAPACITY:
                return clients, samples
    return _CLIENTS[-1], samples


def measure_overload(bench: Bench) -> None:
    """Goodput, accepted requests and refusals."""
    size = bench.size
    clients = _CLIENTS[0]
    peaks, goodputs, usual, accepted = [], [], [], []
    refused: list[list[Sample]] = []
    for turn in range(size.turns):
        clients, at_capacity = find_capacity(bench, clients)
        steady = [each for each in drop_beginning(at_capacity, size) if each.status == 200]
        peaks.append(count_rate(at_capacity, size))
        usual.append(tail(steady))
        rate = OVERLOAD * max(peaks[-1], 1.0)
        load = run_open_loop(
            bench.service.address, bench.singles, rate=rate, seconds=size.seconds, seed=turn
        )
        samples = asyncio.run(load)
        goodputs.append(count_rate(samples, size))
        steady = drop_beginning(samples, size)
        accepted.append(tail([sample for sample in steady if sample.status == 200]))
        refused.append([sample for sample in steady if sample.status == 503])
    bench.report.details["overload"] = {
        "clients_at_capacity": clients, "peaks": peaks, "goodputs": goodputs,
        "refused": [len(each) for each in refused],
    }  # fmt: skip
    bench.report.results += _make_results(clients, peaks, goodputs, usual, accepted, refused)


def _make_results(
    clients: int,
    peaks: Sequence[float],
    goodputs: Sequence[float],
    usual: Sequence[float],
    accepted: Sequence[float],
    refused: Sequence[Sequence[Sample]],
) -> list[Result]:
    shares, times = divide(goodputs, peaks), divide(accepted, usual)
    refusals_ms = [1e3 * tail(each) for each in refused]
    at = f"{OVERLOAD:g} × capacity"
    return [
        Result(
            name=f"{at}: goodput", ours=f"{median(goodputs):.0f} items/s",
            peer=f"at capacity, {median(peaks):.0f} items/s", ratio=median(shares), target=0.9,
            runs=shares,
        ),
        Result(
            name=f"{at}: p99 of accepted", ours=f"{1e3 * median(accepted):.0f} ms",
            peer=f"at capacity ({clients} clients), {1e3 * median(usual):.0f} ms",
            ratio=median(times), target=2.0, lower_is_better=True, runs=times,
        ),
        Result(
            name=f"{at}: p99 of refusals",
            ours=f"median {1e3 * median(map(middle, refused)):.1f} ms",
            ratio=median(refusals_ms), target=10.0, lower_is_better=True, unit="ms",
            runs=refusals_ms,
        ),
    ]  # fmt: skip
