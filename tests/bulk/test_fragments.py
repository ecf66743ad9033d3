"""Parts cover the rows of every file once, whatever its row groups are."""

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk.fragments import Part, list_input, plan_parts, read_batches
from bulk.storage import Place
from tables.errors import FileError


def read(folder: Path, part: Part) -> list[dict[str, object]]:
    batches = list(read_batches(Place(str(folder)), part, 3))
    return [row for batch in batches for row in batch.to_pylist()]


@given(rows=st.integers(0, 40), group=st.integers(1, 15), size=st.integers(1, 20))
@settings(max_examples=30)
def test_every_row_is_in_one_part(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("in")
    table = pa.table({"n": list(range(rows))})
    pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=group)
    plan = plan_parts(Place(str(folder)), ["a.parquet"], size)
    assert not plan.bad
    assert [row["n"] for part in plan.parts for row in read(folder, part)] == list(range(rows))
    assert all(part.rows is not None and part.rows <= size for part in plan.parts)
    assert len({part.name_output("f") for part in plan.parts}) == len(plan.parts)


def test_files_are_found_in_folders_and_what_is_no_data_is_left(tmp_path: Path) -> None:
    for name in ("b/2.jsonl.gz", "a.csv", "b/1.PARQUET", "_SUCCESS.csv", ".x.csv", "_old/1.csv",
                 "c.txt", "d.parquet.gz"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [file.name for file in list_input(Place(str(tmp_path)))]
    assert names == ["a.csv", "b/1.PARQUET", "b/2.jsonl.gz"]
    assert list_input(Place(str(tmp_path / "a.csv"))) == [("a.csv", 0)]
    with pytest.raises(FileError, match=r"holds no \.parquet, \.csv"):
        list_input(Place(str(tmp_path / "nowhere")))


def test_cells_of_csv_stay_texts(tmp_path: Path) -> None:
    text = 'id,text\n007,"一加\n二"\n08,\n'
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    (tmp_path / "a.tsv").write_text(text.replace(",", "\t"), encoding="utf-8")
    expected = [{"id": "007", "text": "一加\n二"}, {"id": "08", "text": ""}]
    assert read(tmp_path, Part("a.csv.gz")) == expected
    assert read(tmp_path, Part("a.tsv")) == expected


def test_json_lines_have_the_fields_of_all_lines(tmp_path: Path) -> None:
    lines = b'{"text": "\xe4\xb8\x80"}\n{"text": "a", "n": 1}\n'
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(lines))
    assert read(tmp_path, Part("a.jsonl.bz2")) == [
        {"text": "一", "n": None}, {"text": "a", "n": 1},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.csv.gz"])
def test_a_bad_file_is_named_and_nothing_of_it_is_quoted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"text,n\nsecret words,1,2\n")
    plan = plan_parts(Place(str(tmp_path)), [name], 5)
    if name == "a.parquet":
        reason = plan.bad[name]
    else:
        with pytest.raises(FileError) as failure:
            read(tmp_path, *plan.parts)
        reason = str(failure.value)
    assert reason.startswith(f"{name}: cannot be read as ")
    assert "secret" not in reason
