"""From options to a job: columns are recognised, and what is wrong is told before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from bulk.arguments import parse_arguments
from bulk.plan import Work, make_work
from bulk.storage import Place
from tables.errors import FileError
from tests.bulk.jobs import FINGERPRINT

TALK = {"session_id": "1", "role": "tutor", "content": "几？", "sequence_id": 1}


def write(folder: Path, row: dict[str, Any], name: str = "a.jsonl") -> None:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / name).write_text(json.dumps(row) + "\n", encoding="utf-8")


def plan(folder: Path, *options: str, has_gpus: bool = False) -> Work:
    words = [str(folder / "in"), "--output", str(folder / "out"), "--ray", "local", *options]
    source = Place(str(folder / "in"))
    names = sorted(path.name for path in (folder / "in").iterdir())
    return make_work(parse_arguments(words), source, names, has_gpus=has_gpus)


def test_problems_are_recognised_and_parted(tmp_path: Path) -> None:
    write(tmp_path, {"question": "一加一？", "grade": "4"})
    work = plan(tmp_path)
    assert (work.job.task, work.job.columns.text, work.job.part_rows) == (
        "timss",
        "question",
        50_000,
    )
    assert (work.cpus, work.gpus, work.job.options.threads) == (2, 0.0, 2)
    assert work.job.fingerprint == FINGERPRINT
    assert not work.job.speakers


def test_turns_are_recognised_and_their_files_stay_whole(tmp_path: Path) -> None:
    write(tmp_path, TALK)
    job = plan(tmp_path, "--teacher", "Coach").job
    assert job.task == "irf"
    assert tuple(job.columns) == ("content", "role", "session_id", "sequence_id")
    assert job.part_rows is None
    assert job.speakers["coach"] == "teacher"


def test_a_file_that_cannot_be_read_does_not_hide_the_columns(tmp_path: Path) -> None:
    write(tmp_path, TALK, "b.jsonl")
    (tmp_path / "in/a.parquet").write_bytes(b"nonsense")
    assert plan(tmp_path).job.task == "irf"


@pytest.mark.parametrize(
    ("row", "options", "reason"),
    [
        ({"question": "一"}, ["--task", "bloom"], "--task bloom: ncal-mini has only timss, irf"),
        ({"question": "一"}, ["--task", "irf"], "name --speaker"),
        ({"question": "一"}, ["--prior", "natural"], "--prior must be uniform, training"),
        ({"question": "一"}, ["--prior", "estimate"], "--prior estimate: takes all answers"),
        ({"题干一": "一"}, [], "no column is named as a text is; name it with --text"),
        ({"conversation": "Teacher: a|EOM|Bo: b"}, [], "a whole dialogue in a cell"),
        ({"question": "一"}, ["--output", "IN/out"], "lies within the input"),
    ],
)
def test_what_is_wrong_is_told_at_once(
    tmp_path: Path, row: dict[str, Any], options: list[str], reason: str
) -> None:
    write(tmp_path, row)
    with pytest.raises(FileError, match=reason):
        plan(tmp_path, *[word.replace("IN", str(tmp_path / "in")) for word in options])


def test_engines_take_what_they_need(tmp_path: Path) -> None:
    write(tmp_path, {"question": "一"})
    on_gpu = plan(tmp_path, "--engine", "vllm", "--gpus", "0.5", has_gpus=True)
    assert (on_gpu.cpus, on_gpu.gpus, on_gpu.job.engine) == (4, 0.5, "vllm")
    assert on_gpu.job.options.gpu_memory_fraction == pytest.approx(0.45)
    on_cpu = plan(tmp_path, "--engine", "vllm", "--cpus", "3")
    assert (on_cpu.cpus, on_cpu.gpus, on_cpu.job.options.threads) == (3, 0.0, 3)
