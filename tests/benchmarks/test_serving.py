"""The benchmark of the service: a whole one runs over the embedded engine, and its table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.samples import Sample, divide
from benchmarks.results import Rate, Report, Result
from benchmarks.serving.bench import count_refused
from benchmarks.serving.report import read_report, replace_figures
from benchmarks.systems.infinity import write_older_form
from benchmarks.systems.machine import count_operations
from benchmarks.systems.worker import cut_into_steps
from contract.manifest import CheckpointError
from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.unmeasured import make_unmeasured_environment

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {
    "processor": "a processor", "cores": 2, "date": "2026-11-29", "turns": 3,
    "gemm_gflops": {"float32": 100.0},
}  # fmt: skip


def make_report() -> Report:
    result = Result(name="Batches", ours="90", peer="100", ratio=0.9, target=0.85, runs=(0.8, 1.0))
    late = Result(
        name="Start", ours="4 s", ratio=4.0, target=3.0, lower_is_better=True, unit="s", note="x"
    )
    rate = Rate(system="ours", precision="float32", items_per_s=90.0, share_of_peak=0.5)
    return Report(machine=MACHINE, results=[result, late], rates=[rate], details={"a": [1]})


@pytest.mark.slow
@pytest.mark.benchmark
def test_a_whole_one_runs(tmp_path: Path) -> None:
    path = tmp_path / "serving.json"
    command = [
        sys.executable, "-m", "benchmarks.serving", "--smoke", "--peers", "--only", "batch",
        "singles", "idle", "stream", "overload", "memory", "--output", str(path),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280,
        env=make_unmeasured_environment() | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = read_report(path)
    names = " ".join(result.name for result in report.results)
    for part in ("Batches of 32, float32", "idle", "stream", "goodput", "refusals", "Memory"):
        assert part in names
    rates = {rate.system for rate in report.rates}
    assert {"NCAL Serve, batches over HTTP", "OpenVINO, offline"} == rates
    assert all(rate.items_per_s > 0 for rate in report.rates)
    assert report.to_markdown() in done.stdout


def test_a_run_is_read_back_and_put_between_the_marks_of_a_page(tmp_path: Path) -> None:
    report = make_report()
    path = tmp_path / "run.json"
    path.write_text(json.dumps(report.to_json()), encoding="utf-8")
    table = read_report(path).to_markdown()
    assert table == report.to_markdown()
    assert "| Batches | 90 | 100 | 0.90 (0.8 to 1) | ≥ 0.85 | met |" in table
    assert "| Start | 4 s |  | 4 s | ≤ 3 s | **missed** |" in table
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    changed = replace_figures(page, table)
    assert table in changed and replace_figures(changed, "none").count("| Batches |") == 0
    before = page.partition("<!-- figures of a run: begin")[0]
    assert changed.startswith(before) and changed.endswith(page.rpartition("run: end -->")[2])
    with pytest.raises(ValueError, match="no place"):
        replace_figures("a page", table)


def test_steps_are_sorted_and_hold_their_tokens_with_padding() -> None:
    prompts = [[5] * length for length in (3, 10, 4, 9, 30, 2, 2)]
    steps = list(cut_into_steps(prompts, 20))
    assert [[len(prompt) for prompt in step] for step in steps] == [[30], [10, 9], [4, 3, 2, 2]]


def test_operations_of_the_bundled_checkpoint(tmp_path: Path) -> None:
    """Its layers' matrices: 4 of 256 × 256 and 3 of 256 × 768, 8 times, two operations each."""
    assert count_operations(BUNDLED_CHECKPOINT) == 2 * 8 * (4 * 256**2 + 3 * 256 * 768)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="describes no decoder"):
        count_operations(tmp_path)


def test_refusals_are_counted_and_runs_without_a_value_have_no_ratio() -> None:
    samples = [Sample(0.0, 1.0, status) for status in (200, 503, 200, 503)]
    assert count_refused(samples) == 0.5
    assert count_refused([]) == 0.0
    assert divide([4.0, 1.0], [2.0, 0.0]) == [2.0, 0.0]


def test_the_checkpoint_for_infinity_says_the_same_in_the_older_form(tmp_path: Path) -> None:
    folder = tmp_path / "older"
    write_older_form(BUNDLED_CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == 10000.0 and "rope_parameters" not in config
    assert "extra_special_tokens" not in (folder / "tokenizer_config.json").read_text()
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (BUNDLED_CHECKPOINT / weights).read_bytes()
