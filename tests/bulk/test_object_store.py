"""What holds for a folder holds for an object store, here a real server that speaks S3."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from bulk.fragments import list_input, plan_parts
from bulk.job import begin, find_done, load_labelling
from bulk.part import label_part
from bulk.storage import Place, name_below
from tables.errors import FileError
from tests.bulk.fake_labelling import InstantScorer
from tests.bulk.jobs import FINGERPRINT, make_job
from tests.bulk.object_store import BUCKET, run_object_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def query() -> Iterator[str]:
    pytest.importorskip("moto", reason="moto is not installed (make setup EXTRA=dev)")
    with run_object_store() as query:
        yield query


def test_parts_are_labelled_from_a_bucket_into_a_bucket(tmp_path: Path, query: str) -> None:
    source, target = Place(f"s3://{BUCKET}/in{query}"), Place(f"s3://{BUCKET}/out/{query}")
    local = tmp_path / "local.parquet"
    pyarrow.parquet.write_table(pa.table({"text": [f"{n}加一？" for n in range(70)]}), local)
    source.put("day=1/a.parquet", local)
    files = [file.name for file in list_input(source)]
    assert files == ["day=1/a.parquet"]
    parts = plan_parts(source, files, 50).parts
    job = make_job(tmp_path, input=source.uri, output=target.uri)
    begin(job, target)
    begin(job, target)
    _, how = load_labelling(job)
    for part in parts:
        label_part(source, part, target, how, InstantScorer(), fingerprint=FINGERPRINT)
    names = [file.name for file in target.list_files()]
    assert names == [part.name_output(FINGERPRINT) for part in parts]
    assert [report.rows for report in find_done(job, target, parts).values()] == [50, 20]
    assert "endpoint" not in str(job.describe())


def test_an_upload_that_fails_leaves_nothing(tmp_path: Path, query: str) -> None:
    target = Place(f"s3://{BUCKET}/torn{query}")
    with pytest.raises(IsADirectoryError):
        target.put("a.parquet", tmp_path)
    assert target.list_files() == []
    target.write_json("_JOB.json", [1])
    target.delete("nothing")
    assert target.read_json("_JOB.json") == [1]


def test_a_folder_of_a_bucket_is_taken_away(tmp_path: Path, query: str) -> None:
    below = Place(name_below(f"s3://{BUCKET}/gone{query}", "_dialogues"))
    below.write_json("a.json", 1)
    Place(f"s3://{BUCKET}/gone{query}").delete("_dialogues")
    assert below.list_files() == []


def test_a_bucket_that_is_not_there_is_told(query: str) -> None:
    with pytest.raises(FileError, match="s3://nowhere/in"):
        list_input(Place(f"s3://nowhere/in{query}"))
