"""The six measurements. Systems take turns, so that a slow minute of the machine hits all."""

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.http_load import (
    Address,
    ask,
    run_batch,
    run_closed_loop,
    run_one_by_one,
    run_open_loop,
    run_stream,
)
from benchmarks.results import Result
from benchmarks.samples import Sample, Size, count_rate, drop_beginning, middle, spread, tail
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
    rows: Sequence[int]
    """Of the task's labels, among the classes that `vllm serve` answers with."""
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
    messages = [
        format_message(Problem(text=text), task.prompt_version, task.window) for text in texts
    ]
    rendered: list[str] = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        for message in messages
    ]
    return rendered


def check_same_answers(bench: Bench) -> None:
    """Raise RuntimeError unless `vllm serve` computes what the service computes."""
    for text, rendered in zip(bench.texts[:5], bench.rendered[:5], strict=True):
        ours = ask(bench.service.address, PROBLEM + "?raw_logits=true", {"text": text})
        theirs = ask(bench.peer, "/classify", {"model": PEER_MODEL, "input": rendered})
        logits = list(ours["logits"].values())
        logs = [math.log(theirs["data"][0]["probs"][row]) for row in bench.rows]
        offsets = [logit - log for logit, log in zip(logits, logs, strict=True)]
        if max(offsets) - min(offsets) > 0.01:
            raise RuntimeError("the systems do not compute the same")


def measure_batch(bench: Bench) -> Result:
    """Items per second of the batch endpoint and of `LLM.classify`."""
    service: list[float] = []
    offline: list[float] = []
    for turn in range(bench.size.turns):
        texts = _take(bench.texts, bench.size.batch_items, turn)
        offline.append(len(texts) / bench.offline.ask({"texts": texts})["seconds"])
        service.append(
            len(texts) / asyncio.run(run_batch(bench.service.address, PROBLEM + "/batch", texts))
        )
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
            samples = _run_clients(address, requests, CLIENTS, bench.size)
            rates[name].append(count_rate(samples, bench.size))
            tails[name].append(tail(drop_beginning(samples, bench.size)))
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
        service += asyncio.run(run_one_by_one(bench.service.address, requests, pause_s))
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
    peaks, goodputs, usual, accepted, refused = [], [], [], [], []
    for turn in range(size.turns):
        at_capacity = _run_clients(address, requests, 2 * CLIENTS, size)
        peaks.append(count_rate(at_capacity, size))
        usual.append(tail(drop_beginning(at_capacity, size)))
        rate = OVERLOAD * peaks[-1]
        load = run_open_loop(address, requests, rate=rate, seconds=size.seconds, seed=turn)
        samples = asyncio.run(load)
        goodputs.append(count_rate(samples, size))
        steady = drop_beginning(samples, size)
        accepted.append(tail([sample for sample in steady if sample.status == 200]))
        refused.append([sample for sample in steady if sample.status == 503])
    shares = [goodput / peak for goodput, peak in zip(goodputs, peaks, strict=True)]
    times = [late / once for late, once in zip(accepted, usual, strict=True)]
    refusals_ms = [1e3 * tail(each) for each in refused]
    return [
        Result(
            name=f"{OVERLOAD:g} times capacity: goodput",
            ours=f"{median(goodputs):.0f} items/s",
            peer=f"peak {median(peaks):.0f} items/s",
            ratio=median(shares),
            target=0.9,
            note=f"runs {spread(shares)}",
        ),
        Result(
            name=f"{OVERLOAD:g} times capacity: 99th percentile of accepted requests",
            ours=f"{median(accepted) * 1e3:.0f} ms",
            peer=f"at capacity ({2 * CLIENTS} clients) {median(usual) * 1e3:.0f} ms",
            ratio=median(times),
            target=2.0,
            lower_is_better=True,
            note=f"runs {spread(times)}",
        ),
        Result(
            name=f"{OVERLOAD:g} times capacity: refusals",
            ours=f"median {1e3 * median(map(middle, refused)):.1f} ms",
            peer="",
            ratio=median(refusals_ms),
            target=10.0,
            lower_is_better=True,
            unit="ms at the 99th percentile",
            note=f"runs {spread(refusals_ms)}; {sum(map(len, refused))} refused",
        ),
    ]


def measure_one_core(bench: Bench) -> Result:
    """Milliseconds an item takes when the whole service has one core, in batches."""
    last = max(os.sched_getaffinity(0))
    bench.service.pin({last})
    seconds: list[float] = []
    for turn in range(bench.size.turns):
        texts = _take(bench.texts, bench.size.batch_items, turn)
        seconds.append(
            asyncio.run(run_batch(bench.service.address, PROBLEM + "/batch", texts)) / len(texts)
        )
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


def _take(texts: Sequence[str], count: int, turn: int) -> Sequence[str]:
    """Other texts each turn, as far as they go; the same for every system."""
    first = turn * count % max(1, len(texts) - count + 1)
    return texts[first : first + count]


def _run_clients(
    address: Address, requests: Sequence[bytes], clients: int, size: Size
) -> list[Sample]:
    load = run_closed_loop(address, requests, clients=clients, seconds=size.seconds)
    samples = asyncio.run(load)
    wrong = {sample.status for sample in samples} - {200}
    if wrong:
        raise RuntimeError(f"unexpected statuses {sorted(wrong)}")
    return samples


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
