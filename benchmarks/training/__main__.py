"""How fast the trainer is, and how much memory it takes, beside the reference method.

`python -m benchmarks.training [--quick]`: each system trains in a process of its own, all in
turns, on the same backbone, data, LoRA, batch size and precision (`worker` describes
the systems). The first epoch of each run is left out; figures are medians of the others. What
counts are ratios: of wall time, and of processor time, which other programs disturb less.
Tokens are those of the prompts for all systems: neither padding nor appended labels are work
done. The second comparison of each case gives the reference our trainer's settings, so the
rest of the difference is the method's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.load.samples import spread
from benchmarks.results import Result, make_table
from benchmarks.systems.processes import stop_cleanly_on_sigterm
from benchmarks.training.cases import BUNDLED_BACKBONE, CASES, Case, find_backbone, make_recipe
from benchmarks.training.measurement import SYSTEMS, Measurement, System

_SPEED_TARGET = 2.0
_PEERS: dict[System, tuple[str, float]] = {
    "reference": ("reference", _SPEED_TARGET),
    "reference-tuned": ("reference with our settings", 1.0),
}
"""What each peer is called, and how many times as fast as it the trainer is to be."""


def main() -> int:
    arguments = _read_arguments()
    stop_cleanly_on_sigterm()
    folder = Path(tempfile.mkdtemp(prefix="ncal-benchmark-"))
    print(f"Logs of the runs: {folder}", file=sys.stderr)
    results: list[Result] = []
    runs: dict[str, list[dict[str, object]]] = {}
    for case in CASES[arguments.device]:
        if arguments.only and not any(word in case.name for word in arguments.only):
            continue
        with tempfile.TemporaryDirectory(prefix="ncal-backbone-") as made:  # gigabytes
            backbone = find_backbone(case, arguments.backbone, Path(made))
            measured = _measure(case, backbone, arguments, folder)
        runs[case.name] = [vars(each) for each in measured]
        for result in compare(case.name, measured, on_gpu=arguments.device == "cuda"):
            print(result.to_row(), result.note, file=sys.stderr, flush=True)
            results.append(result)
    print(make_table(results))
    content = {"results": [result.to_json() for result in results], "runs": runs}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 0


def compare(case: str, runs: Sequence[Measurement], *, on_gpu: bool) -> list[Result]:
    """Our runs beside those of each peer: speed by either clock, and peak memory."""
    results = []
    ours = [run for run in runs if run.system == "ours"]
    for system, (name, target) in _PEERS.items():
        peers = [run for run in runs if run.system == system]
        title = f"{case}: {{}}, beside the {name}"
        results.append(_compare_speed(title.format("speed"), ours, peers, target, "epoch_s"))
        if not on_gpu:  # there the processor only waits
            title_cpu = title.format("speed by processor time")
            results.append(_compare_speed(title_cpu, ours, peers, target, "epoch_cpu_s"))
        results.append(_compare_memory(title.format("peak memory"), ours, peers))
    return results


def _compare_speed(
    title: str, ours: Sequence[Measurement], peers: Sequence[Measurement], target: float, clock: str
) -> Result:
    def collect(runs: Sequence[Measurement]) -> list[float]:
        return [run.prompt_tokens / seconds for run in runs for seconds in getattr(run, clock)]

    def describe(runs: Sequence[Measurement]) -> str:
        tokens = median(collect(runs))
        items = tokens * runs[0].items / runs[0].prompt_tokens
        return f"{tokens:,.0f} tokens/s, {items:,.1f} examples/s"

    return Result(
        name=title,
        ours=describe(ours),
        peer=describe(peers),
        ratio=median(collect(ours)) / median(collect(peers)),
        target=target,
        note=f"epochs: ours {spread(collect(ours))}, peer {spread(collect(peers))} tokens/s",
    )


def _compare_memory(
    title: str, ours: Sequence[Measurement], peers: Sequence[Measurement]
) -> Result:
    def take(runs: Sequence[Measurement]) -> float:
        return median(run.peak_bytes for run in runs)

    return Result(
        name=title,
        ours=f"{take(ours) / 2**20:,.0f} MiB",
        peer=f"{take(peers) / 2**20:,.0f} MiB",
        ratio=take(ours) / take(peers),
        target=1.0,
        lower_is_better=True,
        note=f"of it {ours[0].bytes_before / 2**20:,.0f} MiB Python and its libraries",
    )


def _measure(
    case: Case, backbone: Path, arguments: argparse.Namespace, folder: Path
) -> list[Measurement]:
    """Run all systems in turns, so that what else the machine does meets them alike."""
    turns, epochs = arguments.turns, 1 + arguments.epochs
    if arguments.quick:
        turns, epochs = 1, 2
        case = case._replace(batches=2, compile=False)
    case_folder = Path(tempfile.mkdtemp(dir=folder))
    recipe = case_folder / "recipe.yaml"
    make_recipe(case, backbone, case_folder, epochs=epochs).write(recipe)
    measured = []
    for turn in range(turns):
        for system in SYSTEMS:
            run_folder = case_folder / f"{system}-{turn}"
            run_folder.mkdir()
            items = case.batch_size * case.batches
            measured.append(_run(system, recipe, items, run_folder, arguments.device))
    return measured


def _run(system: System, recipe: Path, items: int, folder: Path, device: str) -> Measurement:
    """Run one system in a process of its own; a trainer takes a GPU where it sees one."""
    command = [
        sys.executable, "-m", "benchmarks.training.worker",
        system, str(recipe), str(items), str(folder),
    ]  # fmt: skip
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0" if device == "cuda" else ""}
    log = folder / "log"
    with log.open("wb") as file:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment,
            check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{system} ended with {done.returncode}; see {log}")
    return Measurement(**json.loads((folder / "measured.json").read_bytes()))


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="see that it works, uncompiled; no figures"
    )
    parser.add_argument("--device", choices=list(CASES), default=_find_device())
    parser.add_argument("--only", nargs="+", help="cases whose names hold one of these words")
    parser.add_argument("--turns", type=int, default=2, help="runs of each system")
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs of a run")
    parser.add_argument(
        "--backbone", type=Path, default=BUNDLED_BACKBONE,
        help="the bundled model's backbone; random weights of its shape where there is none",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks/training.json"), help="JSON of it all"
    )
    return parser.parse_args()


def _find_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    sys.exit(main())
