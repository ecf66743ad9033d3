"""Many items at once: the batch endpoint and the stream, beside programs that have no server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

from benchmarks.load.connection import Address
from benchmarks.load.loops import run_batch, run_peer_batch
from benchmarks.load.samples import divide, spread
from benchmarks.load.streams import run_stream
from benchmarks.results import Rate, Result
from benchmarks.serving.bench import MIB, PROBLEM, Bench, take
from benchmarks.systems.running import PEER_MODEL, RunningService, Worker

OPENVINO, TRANSFORMERS = "OpenVINO, offline", "transformers, offline"
_AIMS = {"float32": {OPENVINO: 0.85, TRANSFORMERS: 1.4}, "bfloat16": {OPENVINO: 0.7}}


def tune_offline(bench: Bench) -> None:
    """Let each program that has no server find the steps that are fastest on this machine."""
    texts = bench.texts[-(bench.size.batch_items // 4) :]
    for name, worker in bench.offline.items():
        chosen = worker.ask({"tune": texts})
        bench.report.details[f"{name}, {bench.precision}"] = chosen


def measure_batch(bench: Bench) -> None:
    """Items per second of the batch endpoint, and of all that can label a list."""
    systems = _find_systems(bench)
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for measure in systems.values():
        measure(bench.texts[-(bench.size.batch_items // 4) :])
    for turn in range(bench.size.turns):
        texts = take(bench.texts, bench.size.batch_items, turn)
        for name, measure in systems.items():
            rates[name].append(len(texts) / measure(texts))
    ours = rates[_OURS]
    for name, aim in _AIMS[bench.precision].items():
        if name in rates:
            ratios = divide(ours, rates[name])
            bench.report.results.append(
                Result(
                    name=f"Batches of {bench.size.batch_items:,}, {bench.precision}",
                    ours=f"{median(ours):.0f} items/s",
                    peer=f"{name}, {median(rates[name]):.0f} items/s",
                    ratio=median(ratios), target=aim, runs=ratios,
                )
            )  # fmt: skip
    for name, values in rates.items():
        peak = bench.peak_items_per_s[bench.precision]
        chosen = bench.report.details.get(f"{name}, {bench.precision}", {})
        bench.report.rates.append(
            Rate(
                system=name, precision=bench.precision, items_per_s=median(values),
                share_of_peak=median(values) / peak,
                note="; ".join(
                    [f"{spread(values)}", *(f"{key} {value}" for key, value in chosen.items())]
                ),
            )
        )  # fmt: skip


_OURS = "NCAL Serve, batches over HTTP"


def _find_systems(bench: Bench) -> dict[str, Callable[[Sequence[str]], float]]:
    """What labels a list of texts and returns the seconds, by name."""

    def over_http(service: RunningService) -> Callable[[Sequence[str]], float]:
        return lambda texts: asyncio.run(run_batch(service.address, PROBLEM + "/batch", texts))

    def offline(worker: Worker) -> Callable[[Sequence[str]], float]:
        return lambda texts: float(worker.ask({"texts": texts})["seconds"])

    systems = {name: offline(worker) for name, worker in bench.offline.items()}
    if bench.service_on_vllm is not None:
        systems["NCAL Serve on vLLM, batches over HTTP"] = over_http(bench.service_on_vllm)
    rendered = dict(zip(bench.texts, bench.rendered, strict=True))

    def over_peer(address: Address) -> Callable[[Sequence[str]], float]:
        return lambda texts: asyncio.run(
            run_peer_batch(address, PEER_MODEL, [rendered[text] for text in texts])
        )

    for name, address in bench.servers.items():
        systems[f"{name}, batches over HTTP"] = over_peer(address)
    return {_OURS: over_http(bench.service), **systems}


def measure_stream(bench: Bench) -> None:
    """One long NDJSON stream between two offline runs, and memory while it lasts."""
    texts = list(take(bench.texts, bench.size.stream_items, 0))
    path = PROBLEM + "/stream"
    asyncio.run(run_stream(bench.service.address, path, texts[: bench.size.stream_items // 10]))
    openvino = bench.offline[OPENVINO]
    some = texts[: bench.size.batch_items]
    rates = [len(some) / openvino.ask({"texts": some})["seconds"]]
    before = bench.service.read_memory_bytes()
    stream = run_stream(bench.service.address, path, texts)
    seconds, memory = asyncio.run(_watch_memory(bench.service, stream))
    rates.append(len(some) / openvino.ask({"texts": some})["seconds"])
    rate, beside = len(texts) / seconds, median(rates)
    growth = max(0, max(memory) - before) / MIB
    bench.report.details["stream memory, MiB"] = [
        round(each / MIB, 1) for each in memory[:: max(1, len(memory) // 60)]
    ]
    bench.report.results += [
        Result(
            name=f"NDJSON stream of {len(texts):,}", ours=f"{rate:.0f} items/s",
            peer=f"{OPENVINO}, {beside:.0f} items/s", ratio=rate / beside, target=0.85,
        ),
        Result(
            name="Memory that the stream adds", ours=f"{growth:.1f} MiB", ratio=growth, target=20,
            lower_is_better=True, unit="MiB",
        ),
    ]  # fmt: skip


async def _watch_memory(service: RunningService, work: Awaitable[float]) -> tuple[float, list[int]]:
    """Return what the work returns, and the resident memory during it."""
    memory = [service.read_memory_bytes()]
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait((task,), timeout=0.25)
        memory.append(service.read_memory_bytes())
    return task.result(), memory
