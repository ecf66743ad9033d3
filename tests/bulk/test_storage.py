"""What is written is there whole or not at all; addresses lose their secrets in messages."""

from pathlib import Path

import pytest

from bulk.storage import Place, hide_query
from tables.errors import FileError


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "out"))
    (tmp_path / "local").write_bytes(b"x" * 3_000_000)
    place.put("a/b.bin", tmp_path / "local")
    assert (tmp_path / "out/a/b.bin").stat().st_size == 3_000_000
    with pytest.raises(IsADirectoryError):
        place.put("a/c.bin", tmp_path)  # fails while it is read
    assert [path.name for path in (tmp_path / "out/a").iterdir()] == ["b.bin"]
    assert [each.name for each in place.list_files()] == ["a/b.bin"]


def test_json_comes_back_and_what_is_missing_is_none(tmp_path: Path) -> None:
    place = Place(tmp_path.as_uri())
    assert place.read_json("_JOB.json") is None
    place.write_json("_JOB.json", {"标签": 1})
    assert place.read_json("_JOB.json") == {"标签": 1}
    assert place.list_files() == []


def test_an_address_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="gopher://x/y"):
        Place("gopher://x/y?key=secret")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://key:secret@bucket/a?endpoint_override=x", "s3://bucket/a"),
        ("/data/in", "/data/in"),
        ("hdfs://host:8020/a", "hdfs://host:8020/a"),
    ],
)
def test_keys_in_an_address_are_hidden(uri: str, shown: str) -> None:
    assert hide_query(uri) == shown


def test_folders_know_what_lies_below_them(tmp_path: Path) -> None:
    folder, below, beside = Place(str(tmp_path / "a")), tmp_path / "a/b", tmp_path / "ab"
    assert folder.contains(Place(str(below))) and folder.contains(folder)
    assert not folder.contains(Place(str(beside)))
