"""A part becomes a file that says what became of its rows."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from bulk import part as part_module
from bulk.fragments import Part
from bulk.part import NOTHING, Report, add_reports, label_part, read_report
from bulk.storage import Place
from tables.errors import FileError
from tests.bulk.fake_labelling import TURN_TASK, TURNS, InstantScorer, make_labelling

FINGERPRINT = "0123456789ab"


def label(folder: Path, part: Part, **changes: Any) -> Report:
    how = make_labelling(**changes)
    source, target = Place(str(folder / "in")), Place(str(folder / "out"))
    return label_part(source, part, target, how, InstantScorer(), fingerprint=FINGERPRINT)


def write(folder: Path, columns: dict[str, list[Any]], name: str = "a.parquet") -> Path:
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / name
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=10)
    return path


def read(folder: Path, name: str = f"a.parquet.{FINGERPRINT}.parquet") -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(folder / "out" / name).to_pylist()  # type: ignore[no-any-return]


def test_rows_come_back_in_order_with_a_report_in_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_module, "BATCH_ROWS", 7)
    monkeypatch.setattr(part_module, "_GROUP_ROWS", 20)
    texts = [f"{n}加{n + 1}等于多少？" if n % 9 else "" for n in range(50)]
    write(tmp_path, {"text": texts, "n": list(range(50))})
    report = label(tmp_path, Part("a.parquet"))
    rows = read(tmp_path)
    assert [row["n"] for row in rows] == list(range(50))
    assert (report.rows, report.failed) == (50, 6)
    assert report.labels == Counter(row["ncal_label"] for row in rows if row["ncal_label"])
    assert report.review == sum(row["ncal_needs_review"] or 0 for row in rows)
    assert read_report(Place(str(tmp_path / "out")), f"a.parquet.{FINGERPRINT}.parquet") == report


def test_some_rows_of_a_file_have_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, {"text": ["一"] * 30, "n": list(range(30))})
    label(tmp_path, Part("a.parquet", 8, 9, is_whole=False))
    rows = read(tmp_path, f"a.parquet.000000000008.{FINGERPRINT}.parquet")
    assert [row["n"] for row in rows] == list(range(8, 17))


def test_dialogues_are_whole_whatever_the_batches_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {
        "dialogue": [str(n % 3) for n in range(30)],
        "speaker": [("老师", "明明")[n // 3 % 2] for n in range(30)],
        "text": [f"第{n}句" for n in range(30)],
    }
    write(tmp_path, columns)
    label(tmp_path, Part("a.parquet"), task=TURN_TASK, columns=TURNS)
    at_once = read(tmp_path)
    monkeypatch.setattr(part_module, "BATCH_ROWS", 4)
    label(tmp_path, Part("a.parquet"), task=TURN_TASK, columns=TURNS)
    assert read(tmp_path) == at_once
    assert not [row for row in at_once if row["ncal_error"]]


def test_a_file_without_rows_leaves_none(tmp_path: Path) -> None:
    write(tmp_path, {"text": []})
    assert label(tmp_path, Part("a.parquet")) == NOTHING
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"题": ["一"]}, "a.parquet: has no column text"),
        ({"text": ["一"], "ncal_label": ["x"]}, "has a column ncal_label already"),
    ],
)
def test_a_file_with_other_columns_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], reason: str
) -> None:
    write(tmp_path, columns)
    with pytest.raises(FileError, match=reason):
        label(tmp_path, Part("a.parquet"))
    assert not (tmp_path / "out").exists()


def test_half_a_file_and_a_foreign_one_have_no_report(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": ["一"] * 30})
    label(tmp_path, Part("a.parquet"))
    written = tmp_path / "out" / f"a.parquet.{FINGERPRINT}.parquet"
    written.write_bytes(written.read_bytes()[:-20])
    assert read_report(Place(str(tmp_path / "out")), written.name) is None
    assert read_report(Place(str(path.parent)), path.name) is None


def test_reports_add_up() -> None:
    total = add_reports([Report(3, 1, 1, {"a": 2}, 1.0), Report(2, 0, 0, {"a": 1, "b": 1}, 0.5)])
    assert total == Report(5, 1, 1, {"a": 3, "b": 1}, 1.5)
