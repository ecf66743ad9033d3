"""How fast the service is, beside what else can label the same texts on the same cores.

`python -m benchmarks.serving [--quick]`: all systems run at once from the same checkpoint,
get the same texts in the same precision and take turns; what counts are ratios. Each has all
cores; the load generator is this process, on the same cores. The table of a run is printed and
put into a file, from which `python -m benchmarks.serving.report` puts it into docs/performance.md.
"""

import argparse
import datetime
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from benchmarks.load.problems import make_problems
from benchmarks.load.samples import FULL, QUICK, SMOKE, Size
from benchmarks.results import Report
from benchmarks.serving import bulk, footprint, overload, singles
from benchmarks.serving.bench import Bench, check_same_answers, render_prompts
from benchmarks.systems.infinity import PROGRAM
from benchmarks.systems.machine import (
    Precision,
    count_cores,
    count_operations,
    has_bfloat16,
    read_processor,
)
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from benchmarks.systems.running import (
    start_infinity,
    start_service,
    start_vllm_serve,
    start_worker,
)
from benchmarks.systems.worker import TASK
from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoints
from engine.tokenizer import CheckpointTokenizer
from service.settings import Settings

_OUTPUT = Path("build/benchmarks/serving.json")
_SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "batch": bulk.measure_batch,
    "singles": singles.measure_singles,
    "idle": singles.measure_idle_latency,
    "stream": bulk.measure_stream,
    "overload": overload.measure_overload,
    "memory": footprint.measure_memory,
}
_PEERS = ("transformers", "vllm")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, and beside what."""

    settings: Settings
    size: Size
    peers: tuple[str, ...]
    infinity: Path | None
    scenarios: tuple[str, ...]
    logs: Path


def main() -> int:
    arguments = _read_arguments()
    stop_cleanly_on_sigterm()
    uvloop.install()
    logs = Path(tempfile.mkdtemp(prefix="ncal-benchmark-"))
    print(f"Logs of the systems: {logs}", file=sys.stderr)
    plan = Plan(
        settings=Settings(checkpoint=(arguments.checkpoint,)),
        size=SMOKE if arguments.smoke else QUICK if arguments.quick else FULL,
        peers=tuple(arguments.peers),
        infinity=arguments.with_infinity,
        scenarios=tuple(arguments.only),
        logs=logs,
    )
    precisions = _choose_precisions(arguments.smoke)
    report = Report(machine=_describe_machine(plan, precisions))
    if "environment" in arguments.only:
        footprint.measure_environment(report, logs)
    if "start" in arguments.only:
        footprint.measure_start(report, plan.settings, logs, plan.size)
    _measure(plan, "float32", report)
    if "bfloat16" in precisions and "batch" in arguments.only:
        _measure(replace(plan, scenarios=("batch",), infinity=None), "bfloat16", report)
    print(report.to_markdown())
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    arguments.output.write_text(content + "\n", encoding="utf-8")
    return 0


def _choose_precisions(is_smoke: bool) -> list[Precision]:
    if is_smoke:
        return ["float32"]
    if has_bfloat16():
        return ["float32", "bfloat16"]
    print("bfloat16 is left out: this processor does not multiply it", file=sys.stderr)
    return ["float32"]


def _measure(plan: Plan, precision: Precision, report: Report) -> None:
    settings = plan.settings.model_copy(update={"dtype": precision})
    with ExitStack() as stack:
        bench = _start_all(stack, replace(plan, settings=settings), precision, report)
        if "vllm serve" in bench.servers:
            check_same_answers(bench, "vllm serve")
        gc.collect()
        gc.freeze()  # our own garbage collection must not show in their latencies
        bulk.tune_offline(bench)
        for name, measure in _SCENARIOS.items():
            if name in plan.scenarios:
                done = len(report.results)
                measure(bench)
                for result in report.results[done:]:
                    print(result.to_row(), file=sys.stderr, flush=True)


def _start_all(stack: ExitStack, plan: Plan, precision: Precision, report: Report) -> Bench:
    settings, logs, cores = plan.settings, plan.logs, count_cores()
    (checkpoint,) = load_checkpoints(settings.checkpoint)
    task = checkpoint.manifest.task(TASK)
    texts = make_problems(plan.size.stream_items, seed=1)
    offline = {bulk.OPENVINO: "openvino"}
    if "transformers" in plan.peers:
        offline[bulk.TRANSFORMERS] = "transformers"
    servers = {}
    is_full = precision == "float32"  # in the other only batches are measured
    if "vllm" in plan.peers and is_full:
        servers["vllm serve"] = stack.enter_context(start_vllm_serve(settings, logs, cores))
    if plan.infinity is not None:
        infinity = start_infinity(plan.infinity, settings, logs, cores)
        servers["infinity"] = stack.enter_context(infinity)
    on_vllm = None
    if "vllm" in plan.peers and is_full:
        other = settings.model_copy(update={"engine": "vllm"})
        on_vllm = stack.enter_context(start_service(other, logs))
    return Bench(
        service=stack.enter_context(start_service(settings, logs)),
        service_on_vllm=on_vllm,
        servers=servers,
        offline={
            name: stack.enter_context(start_worker(mode, precision, settings, logs))
            for name, mode in offline.items()
        },
        engine=stack.enter_context(start_worker("engine", precision, settings, logs))
        if is_full
        else None,
        texts=texts,
        rendered=render_prompts(CheckpointTokenizer(checkpoint.directory), task, texts),
        rows=task.rows,
        size=plan.size,
        peak_items_per_s=_find_peaks(report, texts, plan),
        precision=precision,
        report=report,
    )


def _describe_machine(plan: Plan, precisions: list[Precision]) -> dict[str, object]:
    return {
        "processor": read_processor(),
        "cores": count_cores(),
        "date": datetime.date.today().isoformat(),
        "turns": plan.size.turns,
        "gemm_gflops": {each: _measure_peak(each) for each in precisions},
    }


def _measure_peak(precision: Precision) -> float:
    """In a process of its own: torch must not live in this one."""
    command = [sys.executable, "-m", "benchmarks.systems.machine", precision]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _find_peaks(report: Report, texts: list[str], plan: Plan) -> dict[str, float]:
    from contract.inputs import Problem
    from engine.checkpoint import load_prompt_encoders

    (checkpoint,) = load_checkpoints(plan.settings.checkpoint)
    some = [Problem(text=text) for text in texts[:2048]]
    prompts = load_prompt_encoders(checkpoint)[TASK].encode(some)
    tokens = sum(len(prompt.token_ids) for prompt in prompts) / len(prompts)
    gflop = tokens * count_operations(checkpoint.directory) / 1e9
    return {name: peak / gflop for name, peak in report.machine["gemm_gflops"].items()}


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes; no figures to quote")
    parser.add_argument("--smoke", action="store_true", help="seconds; sees that it runs")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument(
        "--peers", nargs="*", choices=_PEERS, default=list(_PEERS), help="besides OpenVINO itself"
    )
    parser.add_argument(
        "--with-infinity",
        nargs="?",
        type=Path,
        const=PROGRAM,
        metavar="PROGRAM",
        help="`infinity_emb` of the environment that `python -m benchmarks.systems.infinity` makes",
    )
    scenarios = [*_SCENARIOS, "start", "environment"]
    parser.add_argument(
        "--only", nargs="+", choices=scenarios, default=[each for each in scenarios]
    )
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="JSON of it all")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
