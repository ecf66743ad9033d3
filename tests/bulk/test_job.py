"""The output is the memory of a job: what it belongs to, and what is done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk.fragments import list_input, plan_parts
from bulk.job import begin, find_done, load_labelling
from bulk.part import label_part
from bulk.storage import Place
from contract.manifest import CheckpointError
from contract.priors import Mix
from tables.errors import FileError
from tests.bulk.fake_labelling import InstantScorer
from tests.bulk.jobs import CHECKPOINT, FINGERPRINT, make_job, write_problems


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Place]:
    yield Place(str(tmp_path / "out"))


def test_the_same_job_goes_on(tmp_path: Path, target: Place) -> None:
    begin(make_job(tmp_path), target)
    begin(make_job(tmp_path), target)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"fingerprint": "ba9876543210"}, "model"),
        ({"mix": Mix("training", (0.5, 0.5))}, "mix"),
        ({"part_rows": 60, "mode": "live"}, "mode, part_rows"),
        ({"input": "s3://other/in"}, "input"),
    ],
)
def test_another_job_is_refused(
    tmp_path: Path, target: Place, changes: dict[str, Any], names: str
) -> None:
    """Above all another model: no folder ever holds the labels of two."""
    begin(make_job(tmp_path), target)
    with pytest.raises(FileError, match=f"was begun with another {names}; label as before, or"):
        begin(make_job(tmp_path, **changes), target)


def test_a_folder_with_files_of_somebody_is_refused(tmp_path: Path, target: Place) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.csv").touch()
    with pytest.raises(FileError, match="holds 1 files that no job of this command has written"):
        begin(make_job(tmp_path), target)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious.csv"]


def test_what_is_whole_is_done_and_nothing_else(tmp_path: Path, target: Place) -> None:
    write_problems(tmp_path, files=2, rows=120)
    job, source = make_job(tmp_path), Place(str(tmp_path / "in"))
    parts = plan_parts(source, [file.name for file in list_input(source)], job.part_rows).parts
    assert len(parts) == 6
    _, how = load_labelling(job)
    for part in parts[1:4]:
        label_part(source, part, target, how, InstantScorer(), fingerprint=FINGERPRINT)
    torn = Path(target.join(parts[2].name_output(FINGERPRINT)))
    torn.write_bytes(torn.read_bytes()[:100])
    done = find_done(job, target, parts)
    assert set(done) == {parts[1], parts[3]}
    assert sum(report.rows for report in done.values()) == 100


def test_another_checkpoint_on_a_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="put the same on every node"):
        load_labelling(make_job(tmp_path, fingerprint="0" * 12))
    assert CHECKPOINT.manifest.fingerprint == FINGERPRINT
