"""Labelling files with a service of one's own: real processes, vLLM, the bundled checkpoint."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.service_process import (
    ROOT,
    START_TIMEOUT_S,
    ServiceProcess,
    find_session,
    make_environment,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 1500
PROBLEMS = [
    "小明有{n}个苹果，又买来{m}个，现在一共有多少个苹果？",
    "解方程：{n}x+{m}=100",
    "{n}和{m}的最大公因数是多少？",
    "一个长方形长{n}厘米，宽{m}厘米，求它的面积。",
]


@contextmanager
def begin_label(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a session of its own; whatever is left is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "labelling", *map(str, arguments)],
        cwd=ROOT, env=make_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def heed_ctrl_c() -> None:
    """What a shell runs in the background ignores it, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_problems(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number in range(count):
            text = PROBLEMS[number % len(PROBLEMS)].format(n=number + 2, m=number % 7 + 3)
            writer.writerow([f"p{number}", text])
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def count_answers(partial: Path) -> int:
    return partial.read_bytes().count(b"\n") - 1 if partial.exists() else 0


def test_a_killed_run_leaves_no_service_and_goes_on(
    tmp_path: Path, shared_service: ServiceProcess
) -> None:
    path = write_problems(tmp_path / "problems.csv", ROWS)
    output, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    with begin_label(path, "--output", output) as process:
        assert wait_until(lambda: count_answers(partial) > 0, START_TIMEOUT_S)
        process.kill()
        process.communicate()
        kept = count_answers(partial)
        assert 0 < kept < ROWS
        assert wait_until(lambda: not find_session(process.pid))
    assert not output.exists()

    with begin_label(path, "--output", output) as again:
        said, told = again.communicate(timeout=START_TIMEOUT_S)
    assert again.returncode == 0, told
    assert f"{kept:,} of {ROWS:,} rows are labelled already" in told
    assert f"{ROWS:,} of {ROWS:,} rows labelled by ncal-mini" in said

    with begin_label(path, "--url", shared_service.url) as other:
        _, told = other.communicate(timeout=START_TIMEOUT_S)
    assert other.returncode == 0, told
    broken_off, unbroken = read_rows(output), read_rows(tmp_path / "problems.labelled.csv")
    assert [row["id"] for row in broken_off] == [f"p{number}" for number in range(ROWS)]
    for one, two in zip(broken_off, unbroken, strict=True):
        assert one["text"] == two["text"]
        # What is computed together decides the last bits of float32.
        assert float(one["ncal_confidence"]) == pytest.approx(
            float(two["ncal_confidence"]), abs=1e-4
        )
    different = sum(
        one["ncal_label"] != two["ncal_label"]
        for one, two in zip(broken_off, unbroken, strict=True)
    )
    assert different <= 3  # where two classes are equal to four digits


def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    path = write_problems(tmp_path / "problems.csv", 20_000)
    partial = tmp_path / "problems.labelled.csv.partial"
    with begin_label(path) as process:
        assert wait_until(lambda: count_answers(partial) > 0, START_TIMEOUT_S)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "label: stopped; run the same command to go on" in told
        assert "Traceback" not in told
        assert wait_until(lambda: not find_session(process.pid))
    assert count_answers(partial) > 0


def test_a_service_that_dies_is_not_waited_for(tmp_path: Path) -> None:
    path = write_problems(tmp_path / "problems.csv", 20_000)
    partial = tmp_path / "problems.labelled.csv.partial"
    with begin_label(path) as process:
        assert wait_until(lambda: count_answers(partial) > 0, START_TIMEOUT_S)
        (service,) = (
            each
            for each in find_session(process.pid)
            if b"-m\0service\0" in Path(f"/proc/{each}/cmdline").read_bytes()
        )
        os.kill(service, signal.SIGKILL)
        _, told = process.communicate(timeout=60)  # its patience is 300 s
        assert process.returncode == 1
        assert "run the same command to go on" in told
        assert wait_until(lambda: not find_session(process.pid))


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    path = write_problems(tmp_path / "problems.csv", 3)
    environment = make_environment() | {"NCAL_DTYPE": "float7"}
    done = subprocess.run(
        [sys.executable, "-m", "labelling", str(path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the service did not start" in done.stderr and "--dtype" in done.stderr
