"""Labelling on Ray: the pool beside one engine alone, and what Ray costs a row.

`python -m benchmarks.bulk_ray pool` labels the same problems by one embedded engine on all cores of
this machine, without Ray and without files, and by the pool of a cluster of one node. `python -m
benchmarks.bulk_ray overhead` labels rows by an engine that costs nothing, without Ray (the same
reading, tokenizing, calibrating and writing in a loop) and with it. It tells processor time too,
which others on the machine change less than they change the clock: a row of the process that
labels, and a second of the driver and Ray's own processes; and the most memory that the driver
held. The start of cluster and engine is told apart.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from benchmarks.load.problems import make_problems
from benchmarks.systems.machine import count_cores, read_processor
from benchmarks.systems.processes import (
    PeakMemory,
    find_family,
    read_family_processor_s,
    read_processor_s,
    read_title,
)
from bulk.fragments import Part, plan_parts
from bulk.job import Job, load_labelling
from bulk.part import BATCH_ROWS, Report, add_reports, label_part
from bulk.rows.answers import Scores, label_batch
from bulk.rows.columns import Columns
from bulk.scorer import EngineScorer, Scorer
from bulk.storage import Place
from contract.priors import Mix
from contract.prompts import Prompt
from engine.checkpoint import BUNDLED_CHECKPOINT, Checkpoint, load_checkpoints
from engine.choice import choose_engine
from engine.protocol import EngineOptions

_FILES = 8
_DIFFERENT = 20_000
"""Problems that are made; more rows repeat them."""


class Measured(NamedTuple):
    """One run."""

    rows: int
    seconds: float
    start_s: float = 0.0
    """Until the engine had the first part."""
    row_s: float = 0.0
    """Processor time of a row, of the process that labels."""
    ray_cores: float = 0.0
    """Processor time of all other processes in a second."""
    driver_mib: float = 0.0
    """The most that it held."""

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


class FreeScorer:
    """An engine that costs nothing: the same scores for every prompt."""

    def __init__(self, classes: int) -> None:
        self._scores = [float(row) for row in range(classes)]

    def submit(self, prompts: Sequence[Prompt]) -> Future[Scores]:
        future: Future[Scores] = Future()
        future.set_result([self._scores] * len(prompts))
        return future


def make_free_scorer(job: Job, checkpoint: Checkpoint) -> Scorer:
    return FreeScorer(checkpoint.classes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk_ray", description=__doc__)
    parser.add_argument("what", choices=("pool", "overhead"))
    parser.add_argument("--rows", type=int, nargs="+", help="of each run (pool: 20000)")
    parser.add_argument("--part-rows", type=int, help="rows of a part (pool: 2500; else 50000)")
    parser.add_argument("--cores", type=int, default=count_cores(), help="of the node (all)")
    parser.add_argument("--rounds", type=int, default=3, help="each way so often (3)")
    arguments = parser.parse_args()
    print(f"{read_processor()}, {arguments.cores} cores", file=sys.stderr)
    from bulk.cluster.connection import connect

    began = time.monotonic()
    # One cluster for all runs: Ray Data keeps in a process what belongs to its first one.
    with connect("local"):
        print(f"the cluster began in {time.monotonic() - began:.1f} s")
        if arguments.what == "pool":
            rows = (arguments.rows or [20_000])[0]
            measure_pool(rows, arguments.part_rows or 2500, arguments.cores, arguments.rounds)
        else:
            sizes = arguments.rows or [10_000, 100_000, 1_000_000]
            measure_overhead(sizes, arguments.part_rows or 50_000)
    return 0


def measure_pool(rows: int, part_rows: int, cores: int, rounds: int) -> None:
    """Print rows a second of one engine alone and of the pool, turn by turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_input(folder, rows)
        for number in range(rounds):
            job = make_job(folder, f"out-{number}", part_rows, threads=cores)
            tell("engine alone", run_alone(job, texts))
            tell("pool", run_pool(job, cpus=cores, make_scorer=None))


def measure_overhead(sizes: Sequence[int], part_rows: int) -> None:
    """Print seconds a row without Ray and with it, for each number of rows."""
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # In a process of its own, or the driver would hold what it leaves behind.
            with ProcessPoolExecutor(1, get_context("spawn")) as another:
                loop = another.submit(write_and_loop, folder, rows, part_rows).result()
            tell("loop", loop)
            job = make_job(folder, "pool", part_rows, threads=1)
            pool = run_pool(job, cpus=1, make_scorer=make_free_scorer)
            tell("pool", pool)
            extra = (pool.seconds - loop.seconds) / rows * 1e6
            processor = (pool.row_s - loop.row_s) * 1e6
            print(f"  Ray: {extra:+.1f} µs a row beside the loop, {processor:+.1f} of a processor")


def write_and_loop(folder: Path, rows: int, part_rows: int) -> Measured:
    """Write the input and label it without Ray."""
    write_input(folder, rows)
    return run_loop(make_job(folder, "loop", part_rows, threads=1))


def write_input(folder: Path, rows: int) -> list[str]:
    """Problems in files of Parquet; returns their texts."""
    made = make_problems(min(rows, _DIFFERENT), seed=7)
    (folder / "in").mkdir()
    texts: list[str] = []
    for file in range(_FILES):
        count = rows * (file + 1) // _FILES - rows * file // _FILES
        own = [made[(len(texts) + row) % len(made)] for row in range(count)]
        texts += own
        table = pa.table({"id": list(range(len(texts) - count, len(texts))), "text": own})
        pyarrow.parquet.write_table(table, folder / "in" / f"{file}.parquet")
    return texts


def make_job(folder: Path, output: str, part_rows: int, *, threads: int) -> Job:
    (checkpoint,) = load_checkpoints([BUNDLED_CHECKPOINT])
    return Job(
        input=str(folder / "in"),
        output=str(folder / output),
        checkpoint=BUNDLED_CHECKPOINT,
        model=checkpoint.name,
        fingerprint=checkpoint.manifest.fingerprint,
        task="timss",
        columns=Columns("text"),
        speakers={},
        mode="retrospective",
        mix=Mix("uniform", ()),
        prefix="ncal_",
        part_rows=part_rows,
        gathers=False,
        engine="openvino",
        options=EngineOptions(
            dtype="float32", threads=threads, max_batched_tokens=1024, max_batched_items=128,
            kv_cache_mib=256, gpu_memory_fraction=0.9,
        ),
    )  # fmt: skip


def run_alone(job: Job, texts: Sequence[str]) -> Measured:
    """One engine in this process: tokenized, scored and calibrated in one go, nothing written."""
    checkpoint, how = load_labelling(job)
    scorer = EngineScorer(checkpoint, choose_engine(job.engine), job.options)
    batch = pa.RecordBatch.from_pydict({"text": list(texts)})
    label_batch(batch.slice(0, BATCH_ROWS // 4), how, scorer.score)  # shapes are prepared
    started = time.monotonic()
    label_batch(batch, how, scorer.score)
    seconds = time.monotonic() - started
    scorer.close()
    return Measured(len(texts), seconds)


def run_loop(job: Job) -> Measured:
    """All parts one after the other in this process, by an engine that costs nothing."""
    checkpoint, how = load_labelling(job)
    source, target = Place(job.input), Place(job.output)
    scorer = make_free_scorer(job, checkpoint)
    parts = list_parts(job)
    started, spent = time.monotonic(), time.process_time()
    reports = [
        label_part(source, part, target, how, scorer, fingerprint=job.fingerprint) for part in parts
    ]
    rows = add_reports(reports).rows
    seconds = time.monotonic() - started
    return Measured(rows, seconds, row_s=(time.process_time() - spent) / rows)


def run_pool(job: Job, *, cpus: int, make_scorer: Any) -> Measured:
    """One engine on the node, as the command runs it."""
    from bulk.cluster.connection import Share
    from bulk.cluster.pool import label_parts, start_engine_of

    began = time.monotonic()
    memory = PeakMemory()
    reports: list[Report] = []
    first = began
    before = now = (0.0, 0.0, 0.0)
    outcomes = label_parts(
        job, list_parts(job), Share(cpus, 0.0), engines=1, room=1,
        make_scorer=make_scorer or start_engine_of,
    )  # fmt: skip
    for outcome in outcomes:
        assert outcome.report is not None, outcome.error
        now = (time.monotonic(), *read_processor_times())
        if not reports:
            first, before = now[0] - outcome.report.seconds, now
        reports.append(outcome.report)
    rows = add_reports(reports).rows
    seconds, worker_s, others_s = (
        after - earlier for after, earlier in zip(now, before, strict=True)
    )
    return Measured(
        rows,
        now[0] - first,
        start_s=first - began,
        row_s=worker_s / max(rows - reports[0].rows, 1),
        ray_cores=others_s / seconds if seconds else 0.0,
        driver_mib=memory.read_mib(),
    )


def read_processor_times() -> tuple[float, float]:
    """Seconds of the one process that labels, and of the driver and all others of the cluster."""
    family = find_family(os.getpid())
    workers = [pid for pid in family if read_title(pid).startswith(b"ray::MapWorker")]
    spent = sum(map(read_processor_s, workers))
    return spent, read_family_processor_s(os.getpid()) - spent


def list_parts(job: Job) -> list[Part]:
    source = Place(job.input)
    names = [file.name for file in source.list_files()]
    return plan_parts(source, names, job.part_rows).parts


def tell(name: str, measured: Measured) -> None:
    """A line for people, and one for programs on the error output."""
    start = f", start {measured.start_s:.1f} s" if measured.start_s else ""
    memory = f", driver {measured.driver_mib:,.0f} MiB" if measured.driver_mib else ""
    processor = f" ({measured.row_s * 1e6:,.1f} of a processor)" if measured.row_s else ""
    ray = f", Ray's own processes {measured.ray_cores:.2f} cores" if measured.ray_cores else ""
    print(
        f"{name}: {measured.rows:,} rows in {measured.seconds:.1f} s, {measured.rate:,.0f} a "
        f"second, {measured.seconds / measured.rows * 1e6:,.1f} µs each{processor}{ray}"
        f"{start}{memory}",
        flush=True,
    )
    print(json.dumps({"what": name, **measured._asdict()}), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
