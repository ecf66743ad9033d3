"""How fast the service is, beside the engine it wraps and the server that comes with it.

`python -m benchmarks.serving [--quick]`: all systems run at once from the same checkpoint,
get the same texts and take turns; what counts are ratios. All have float32 and eager
execution; the rest is as each system comes: vLLM puts engine and worker into processes of
their own and keeps one core back from them, the service has them in one process and lets
engine and HTTP share all cores (`--threads` and `--vllm-threads` say otherwise). The load
generator is this process, the same for every server, on the same cores.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks import scenarios
from benchmarks.problems import make_problems
from benchmarks.results import Result, make_table
from benchmarks.samples import FULL, QUICK, Size
from benchmarks.scenarios import Bench, render_prompts
from benchmarks.systems import (
    make_peer_environment,
    start_service,
    start_vllm_serve,
    start_worker,
    stop_cleanly_on_sigterm,
)
from benchmarks.worker import TASK
from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoints
from engine.vllm.environment import prepare_environment
from service.settings import Settings


def main() -> int:
    arguments = _read_arguments()
    settings = Settings(checkpoint=(arguments.checkpoint,), engine_threads=arguments.threads)
    stop_cleanly_on_sigterm()
    peers = make_peer_environment(arguments.vllm_threads)
    prepare_environment(settings.engine_threads)
    uvloop.install()
    logs = Path(tempfile.mkdtemp(prefix="ncal-benchmark-"))
    print(f"Logs of the systems: {logs}", file=sys.stderr)
    results: list[Result] = []
    with ExitStack() as stack:
        size = QUICK if arguments.quick else FULL
        bench = _start_all(stack, settings, logs, size, peers)
        scenarios.check_same_answers(bench)
        gc.collect()
        gc.freeze()  # our own garbage collection must not show in their latencies
        for name, measure in scenarios.ALL:
            if arguments.only and name not in arguments.only:
                continue
            measured = measure(bench)
            for result in measured if isinstance(measured, list) else [measured]:
                print(result.to_row(), result.note, file=sys.stderr, flush=True)
                results.append(result)
    print(make_table(results))
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        content = [result.to_json() for result in results]
        arguments.output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 0


def _start_all(
    stack: ExitStack, settings: Settings, logs: Path, size: Size, peers: Mapping[str, str]
) -> Bench:
    from transformers import AutoTokenizer

    (checkpoint,) = load_checkpoints(settings.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.directory, local_files_only=True)
    task = checkpoint.manifest.task(TASK)
    texts = make_problems(size.stream_items, seed=1)
    return Bench(
        service=stack.enter_context(start_service(settings, logs)),
        peer=stack.enter_context(start_vllm_serve(settings, logs, peers)),
        offline=stack.enter_context(start_worker("offline", settings, logs, peers)),
        engine=stack.enter_context(start_worker("engine", settings, logs, os.environ)),
        texts=texts,
        rendered=render_prompts(tokenizer, task, texts),
        rows=task.rows,
        size=size,
    )


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it works; no figures")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument(
        "--threads",
        type=int,
        default=Settings.model_fields["engine_threads"].default,
        help="CPU threads of the service's engine",
    )
    parser.add_argument(
        "--vllm-threads",
        type=int,
        help="CPU threads of `vllm serve` and `LLM.classify` (all but one, as vLLM chooses)",
    )
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in scenarios.ALL])
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks/serving.json"), help="JSON of it all"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
