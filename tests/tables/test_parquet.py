"""Parquet: types, metadata and compression stay, our columns get types of their own."""

import builtins
import datetime
import tempfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.errors import FileError
from tables.files import open_table, write_rows
from tables.table import Limits

TYPES = {
    "text": (pyarrow.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    "count": (pyarrow.int32(), st.integers(-(2**31), 2**31 - 1)),
    "share": (pyarrow.float64(), st.floats(allow_nan=False)),
    "day": (pyarrow.date32(), st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1))),
    "turns": (pyarrow.list_(pyarrow.string()), st.lists(st.sampled_from("ab"), max_size=2)),
}
COLUMNS = st.integers(0, 6).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            name: st.lists(st.none() | values, min_size=rows, max_size=rows)
            for name, (_, values) in TYPES.items()
        }
    )
)


def make_table(columns: dict[str, list[Any]]) -> Any:
    arrays = [pyarrow.array(columns[name], kind) for name, (kind, _) in TYPES.items()]
    return pyarrow.Table.from_arrays(arrays, names=list(TYPES)).replace_schema_metadata({"a": "b"})


@settings(max_examples=25, deadline=None)
@given(COLUMNS, st.sampled_from(["ZSTD", "NONE"]))
def test_any_table_comes_back_with_typed_columns(columns: dict[str, list[Any]], codec: str) -> None:
    before = make_table(columns)
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "a.parquet"), Path(folder, "out.parquet")
        pyarrow.parquet.write_table(before, path, compression=codec, row_group_size=2)
        table = open_table(path)
        pairs = ((row, ["=x", row.line / 2, None, True]) for row in table.rows())
        table.write(output, ["label", "p", "error", "review"], pairs)
        after = pyarrow.parquet.read_table(output)
        groups = pyarrow.parquet.ParquetFile(output).metadata
    assert after.select(list(TYPES)).equals(before)
    assert after.schema.metadata == before.schema.metadata
    numbers = range(1, before.num_rows + 1)
    assert after.select(["label", "p", "error", "review"]).to_pylist() == [
        {"label": "=x", "p": number / 2, "error": None, "review": True} for number in numbers
    ]
    if before.num_rows:
        assert after.schema.field("p").type == pyarrow.float64()
        found = groups.row_group(0).column(0).compression
        assert found == codec.replace("NONE", "UNCOMPRESSED")


def test_a_new_file_holds_texts(tmp_path: Path) -> None:
    path = tmp_path / "new.parquet"
    assert write_rows(path, "parquet", ["a", "b"], [["=x", 1], [None, ["c", "d"]]]) == 2
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert rows == [{"a": "=x", "b": "1"}, {"a": None, "b": "c|d"}]
    with pytest.raises(FileError, match="two columns have one name"):
        write_rows(path, "parquet", ["a", "a"], [])


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1 and more PAR1", b"text\n"):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"a\.parquet: cannot be read as Parquet"):
            open_table(path)
    with pytest.raises(FileError, match="cannot be read"):
        open_table(tmp_path / "none.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2], "b": [1, 2]}), path)
    for limits in (Limits(rows=1), Limits(columns=1), Limits(unpacked_bytes=1)):
        with pytest.raises(FileError):
            open_table(path, limits=limits)

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return find(name, *arguments, **options)

    find = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(FileError, match="Parquet needs pyarrow; install it"):
        open_table(path)
