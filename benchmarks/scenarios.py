"""The six measurements. Systems take turns, so that a slow minute of the machine hits all."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.http_load import (
    Address,
    Sample,
    run_closed_loop,
    run_open_loop,
    run_stream,
)
from benchmarks.results import Result, Size, percentile, spread
from benchmarks.systems import PEER_MODEL, RunningService, Worker
from contract.inputs import Problem
from contract.manifest import Task
from contract.prompts import Tokenizer, format_message

PROBLEM = "/classify/problem"
CLIENTS = 64
OVERLOAD = 4.0
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The running systems, the texts they all get, and how much of each measurement."""

    service: RunningService
    peer: Address
    """`vllm serve`."""
    offline: Worker
    engine: Worker
    texts: Sequence[str]
    rendered: Sequence[str]
    """The same texts as `vllm serve` must get them: through the chat template."""
    size: Size

    @property
    def singles(self) -> list[bytes]:
        return [self.service.address.make_post(PROBLEM, {"text": text}) for text in self.texts]

    @property
    def peer_singles(self) -> list[bytes]:
        return [
            self.peer.make_post("/classify", {"model": PEER_MODEL, "input": text})
            for text in self.rendered
        ]


def render_prompts(tokenizer: Tokenizer, task: Task, texts: Sequence[str]) -> list[str]:
    """Return what a client of `vllm serve` must send so that it gets the same prompts."""
    rendered: list[str] = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": _format(task, text)}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for text in texts
    ]
    return rendered


def measure_batch(bench: Bench) -> Result:
    """Items per second of the batch endpoint and of `LLM.classify`."""
    service: list[float] = []
    offline: list[float] = []
    for turn in range(bench.size.turns):
        texts = _take(bench.texts, bench.size.batch_items, turn)
        offline.append(len(texts) / bench.offline.ask({"texts": texts})["seconds"])
        service.append(len(texts) / asyncio.run(_run_batch(bench.service.address, texts)))
    return Result(
        name=f"Batch endpoint, {bench.size.batch_items:,} items a request",
        ours=f"{median(service):.0f} items/s",
        peer=f"`LLM.classify` {median(offline):.0f} items/s",
        ratio=median(service) / median(offline),
        target=0.9,
        note=f"runs {spread(service)} against {spread(offline)}",
    )


def measure_singles(bench: Bench) -> list[Result]:
    """Single items of many concurrent clients, ours and `vllm serve`."""
    rates: dict[str, list[float]] = {"service": [], "peer": []}
    tails: dict[str, list[float]] = {"service": [], "peer": []}
    systems = {
        "peer": (bench.peer, bench.peer_singles),
        "service": (bench.service.address, bench.singles),
    }
    for _ in range(bench.size.turns):
        for name, (address, requests) in systems.items():
            samples = _run_clients(address, requests, CLIENTS, bench.size.load_s)
            rates[name].append(_count_rate(samples, bench.size.load_s))
            tails[name].append(_tail([sample.latency_s for sample in samples]))
    ours, peer = median(rates["service"]), median(rates["peer"])
    our_tail, peer_tail = median(tails["service"]), median(tails["peer"])
    return [
        Result(
            name=f"Single items, {CLIENTS} clients: throughput",
            ours=f"{ours:.0f} items/s",
            peer=f"`vllm serve` {peer:.0f} items/s",
            ratio=ours / peer,
            target=1.3,
            note=f"runs {spread(rates['service'])} against {spread(rates['peer'])}",
        ),
        Result(
            name=f"Single items, {CLIENTS} clients: 99th percentile",
            ours=f"{our_tail * 1e3:.0f} ms",
            peer=f"`vllm serve` {peer_tail * 1e3:.0f} ms",
            ratio=our_tail / peer_tail,
            target=1.0,
            lower_is_better=True,
        ),
    ]


def measure_stream(bench: Bench) -> list[Result]:
    """One long NDJSON stream between two offline runs, and what it adds to memory."""
    texts = list(_take(bench.texts, bench.size.stream_items, 0))
    address, path = bench.service.address, PROBLEM + "/stream"
    asyncio.run(run_stream(address, path, texts[:2000]))
    samples = texts[: bench.size.batch_items]
    offline = [len(samples) / bench.offline.ask({"texts": samples})["seconds"]]
    before = bench.service.read_memory_bytes()
    seconds, highest = asyncio.run(_watch_memory(bench.service, run_stream(address, path, texts)))
    offline.append(len(samples) / bench.offline.ask({"texts": samples})["seconds"])
    rate = len(texts) / seconds
    growth = max(0, highest - before) / _MIB
    return [
        Result(
            name=f"NDJSON stream of {len(texts):,} items",
            ours=f"{rate:.0f} items/s",
            peer=f"`LLM.classify` {median(offline):.0f} items/s",
            ratio=rate / median(offline),
            target=0.9,
        ),
        Result(
            name="Memory the stream adds to the service's process",
            ours=f"{growth:.1f} MiB",
            peer="",
            ratio=growth,
            target=50.0,
            lower_is_better=True,
            unit="MiB",
        ),
    ]


def measure_idle_latency(bench: Bench) -> Result:
    """One request at a time: how much the service adds to its engine."""
    service: list[float] = []
    engine: list[float] = []
    pause_s = 0.02
    for turn in range(bench.size.turns):
        texts = _take(bench.texts, bench.size.idle_requests, turn)
        engine += bench.engine.ask({"texts": texts, "pause_s": pause_s})["latencies_s"]
        requests = [bench.service.address.make_post(PROBLEM, {"text": text}) for text in texts]
        service += asyncio.run(_run_one_by_one(bench.service.address, requests, pause_s))
    added_ms = (median(service) - median(engine)) * 1e3
    return Result(
        name="One idle request, beyond the engine's own latency",
        ours=f"{median(service) * 1e3:.2f} ms",
        peer=f"engine {median(engine) * 1e3:.2f} ms",
        ratio=added_ms,
        target=2.0,
        lower_is_better=True,
        unit="ms",
    )


def measure_overload(bench: Bench) -> list[Result]:
    """Four times as many requests as the service can take, against just as many."""
    address, requests, size = bench.service.address, bench.singles, bench.size
    at_capacity = _run_clients(address, requests, 2 * CLIENTS, size.load_s)
    peak = _count_rate(at_capacity, size.load_s)
    rate = OVERLOAD * peak
    samples = asyncio.run(
        run_open_loop(address, requests, rate=rate, seconds=2 * size.load_s, seed=1)
    )
    steady = _drop_beginning(samples, size.load_s)
    accepted = [sample.latency_s for sample in steady if sample.status == 200]
    refused = [sample.latency_s for sample in steady if sample.status == 503]
    goodput = _count_rate(samples, 2 * size.load_s, skip_s=size.load_s)
    usual = _tail([sample.latency_s for sample in at_capacity])
    statuses = sorted({sample.status for sample in samples})
    return [
        Result(
            name=f"{OVERLOAD:g} times capacity: goodput",
            ours=f"{goodput:.0f} items/s",
            peer=f"peak {peak:.0f} items/s",
            ratio=goodput / peak,
            target=0.9,
            note=f"{rate:.0f} requests/s sent, statuses {statuses}",
        ),
        Result(
            name=f"{OVERLOAD:g} times capacity: 99th percentile of accepted requests",
            ours=f"{_tail(accepted) * 1e3:.0f} ms",
            peer=f"at capacity ({2 * CLIENTS} clients) {usual * 1e3:.0f} ms",
            ratio=_tail(accepted) / usual,
            target=2.0,
            lower_is_better=True,
        ),
        Result(
            name=f"{OVERLOAD:g} times capacity: refusals",
            ours=f"median {median(refused or [0.0]) * 1e3:.1f} ms",
            peer="",
            ratio=_tail(refused) * 1e3,
            target=10.0,
            lower_is_better=True,
            unit="ms at the 99th percentile",
            note=f"{len(refused)} refused, {len(accepted)} accepted",
        ),
    ]


def measure_one_core(bench: Bench) -> Result:
    """Milliseconds an item takes when the whole service has one core, in batches."""
    last = max(os.sched_getaffinity(0))
    bench.service.pin({last})
    seconds: list[float] = []
    for turn in range(bench.size.turns):
        texts = _take(bench.texts, bench.size.batch_items, turn)
        seconds.append(asyncio.run(_run_batch(bench.service.address, texts)) / len(texts))
    bench.service.pin(os.sched_getaffinity(0))
    return Result(
        name="One item on one core, in batches, HTTP and engine together",
        ours=f"{median(seconds) * 1e3:.2f} ms",
        peer="",
        ratio=median(seconds) * 1e3,
        target=15.0,
        lower_is_better=True,
        unit="ms",
        note=f"runs {spread([1e3 * each for each in seconds])}",
    )


def _format(task: Task, text: str) -> str:
    return format_message(Problem(text=text), task.prompt_version, task.window)


def _take(texts: Sequence[str], count: int, turn: int) -> Sequence[str]:
    """Other texts each turn, as far as they go; the same for every system."""
    first = turn * count % max(1, len(texts) - count + 1)
    return texts[first : first + count]


def _run_clients(
    address: Address, requests: Sequence[bytes], clients: int, seconds: float
) -> list[Sample]:
    """Return the samples of the time after a warm-up of a fifth."""
    samples = asyncio.run(
        run_closed_loop(address, requests, clients=clients, seconds=1.2 * seconds)
    )
    wrong = {sample.status for sample in samples} - {200}
    if wrong:
        raise RuntimeError(f"unexpected statuses {sorted(wrong)}")
    return _drop_beginning(samples, 0.2 * seconds)


def _drop_beginning(samples: Sequence[Sample], seconds: float) -> list[Sample]:
    begin = min(sample.due for sample in samples) + seconds
    return [sample for sample in samples if sample.due >= begin]


def _count_rate(samples: Sequence[Sample], seconds: float, *, skip_s: float = 0.0) -> float:
    """Successes per second that finished while load was still coming in."""
    begin = min(sample.due for sample in samples)
    done = sum(
        sample.status == 200 and begin + skip_s <= sample.finished <= begin + seconds
        for sample in samples
    )
    return done / (seconds - skip_s)


def _tail(latencies_s: Sequence[float]) -> float:
    return percentile(latencies_s, 99)


async def _run_batch(address: Address, texts: Sequence[str]) -> float:
    connection = await address.connect()
    request = address.make_post(PROBLEM + "/batch", {"items": [{"text": text} for text in texts]})
    started = time.perf_counter()
    status, body = await connection.exchange(request)
    seconds = time.perf_counter() - started
    connection.close()
    if status != 200 or f'"ok":{len(texts)}'.encode() not in body:
        raise RuntimeError(f"the batch was answered with {status}")
    return seconds


async def _run_one_by_one(
    address: Address, requests: Sequence[bytes], pause_s: float
) -> list[float]:
    connection = await address.connect()
    latencies_s = []
    for request in requests:
        await asyncio.sleep(pause_s)
        started = time.perf_counter()
        status, _ = await connection.exchange(request)
        latencies_s.append(time.perf_counter() - started)
        if status != 200:
            raise RuntimeError(f"an idle request was answered with {status}")
    connection.close()
    return latencies_s


async def _watch_memory(service: RunningService, work: Any) -> tuple[float, int]:
    """Return what the work returns, and the highest resident memory during it."""
    highest = service.read_memory_bytes()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait((task,), timeout=0.25)
        highest = max(highest, service.read_memory_bytes())
    return task.result(), highest


ALL: tuple[tuple[str, Callable[[Bench], Result | list[Result]]], ...] = (
    ("batch", measure_batch),
    ("singles", measure_singles),
    ("stream", measure_stream),
    ("idle", measure_idle_latency),
    ("overload", measure_overload),
    ("one-core", measure_one_core),
)
