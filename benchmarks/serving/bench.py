"""The running systems, and what all measurements need of them."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.load.connection import Address, ask
from benchmarks.load.loops import run_closed_loop
from benchmarks.load.samples import Sample, Size
from benchmarks.results import Report
from benchmarks.systems.running import PEER_MODEL, RunningService, Worker
from contract.inputs import Problem
from contract.manifest import Task
from contract.prompts import format_message
from engine.tokenizer import CheckpointTokenizer

PROBLEM = "/classify/problem"
CLIENTS = 64
MIB = 2**20
_USUAL = {200, 503}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The running systems, the texts they all get, and how much of each measurement."""

    service: RunningService
    service_on_vllm: RunningService | None = None
    servers: Mapping[str, Address] = field(default_factory=dict)
    """Peers that answer vLLM's `POST /classify`, by name."""
    offline: Mapping[str, Worker] = field(default_factory=dict)
    """Programs that label a whole list, by name."""
    engine: Worker | None = None
    texts: Sequence[str]
    rendered: Sequence[str]
    """The same texts as the servers must get them: through the chat template."""
    rows: Sequence[int]
    """Of the task's labels, among the classes that the servers answer with."""
    size: Size
    peak_items_per_s: Mapping[str, float]
    """By precision: what the matrix products alone would take, at the machine's best."""
    precision: str = "float32"
    report: Report

    @property
    def singles(self) -> list[bytes]:
        return [self.service.address.make_post(PROBLEM, {"text": text}) for text in self.texts]

    def make_peer_singles(self, address: Address) -> list[bytes]:
        return [
            address.make_post("/classify", {"model": PEER_MODEL, "input": [text]})
            for text in self.rendered
        ]


def render_prompts(tokenizer: CheckpointTokenizer, task: Task, texts: Sequence[str]) -> list[str]:
    """Return what a client of a peer must send so that it gets the same prompts."""
    messages = [
        format_message(
            Problem(text=text), task.prompt_version, task.window, task.label_set.instruction
        )
        for text in texts
    ]
    rendered: list[str] = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        for message in messages
    ]
    return rendered


def check_same_answers(bench: Bench, name: str) -> None:
    """Raise RuntimeError unless `vllm serve` computes what the service computes."""
    for text, rendered in zip(bench.texts[:5], bench.rendered[:5], strict=True):
        ours = ask(bench.service.address, PROBLEM + "?raw_logits=true", {"text": text})
        theirs = ask(bench.servers[name], "/classify", {"model": PEER_MODEL, "input": rendered})
        logits = list(ours["logits"].values())
        logs = [math.log(theirs["data"][0]["probs"][row]) for row in bench.rows]
        offsets = [logit - log for logit, log in zip(logits, logs, strict=True)]
        if max(offsets) - min(offsets) > 0.01:
            raise RuntimeError(f"{name} does not compute what the service computes")


def take(texts: Sequence[str], count: int, turn: int) -> Sequence[str]:
    """Other texts each turn, as far as they go; the same for every system."""
    first = turn * count % max(1, len(texts) - count + 1)
    return texts[first : first + count]


def run_clients(
    address: Address, requests: Sequence[bytes], clients: int, size: Size
) -> list[Sample]:
    """Let so many clients send one request after the other; refusals are results too."""
    load = run_closed_loop(address, requests, clients=clients, seconds=size.seconds)
    samples = asyncio.run(load)
    wrong = {sample.status for sample in samples} - _USUAL
    if wrong:
        raise RuntimeError(f"unexpected statuses {sorted(wrong)}")
    return samples


def count_refused(samples: Sequence[Sample]) -> float:
    """Return the share of refusals."""
    return sum(sample.status == 503 for sample in samples) / max(1, len(samples))
