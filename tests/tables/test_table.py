"""What a table holds beside the labels comes out as it went in."""

import csv
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.table import Table

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8)


def copy(table: Table, path: Path) -> Path:
    """The table with one more column."""
    table.write(path, ["added"], ((row, [row.line]) for row in table.rows()))
    return path


@given(st.lists(st.tuples(CELL, CELL), max_size=5))
def test_cells_stay_as_they_are(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "note"), *rows])
        table = Table.open(path)
        copied = copy(table, Path(folder) / "out.csv")
        with copied.open(encoding="utf-8", newline="") as file:
            read = list(csv.reader(file))
    assert read[0] == ["text", "note", "added"]
    assert [tuple(row[:2]) for row in read[1:]] == rows


@pytest.mark.parametrize(
    ("name", "encoding", "delimiter", "mark"),
    [
        ("a.csv", "utf-8", None, b""),
        ("a.csv", "utf-8", None, b"\xef\xbb\xbf"),
        ("a.csv", "gb18030", None, b""),
        ("a.csv", "utf-8", ";", b""),
        ("a.tsv", "utf-8", None, b""),
    ],
)
def test_the_form_of_a_file_is_kept(
    tmp_path: Path, name: str, encoding: str, delimiter: str | None, mark: bytes
) -> None:
    cut = delimiter or ("\t" if name == "a.tsv" else ",")
    text = f'text{cut}note\n一加一{cut}"a{cut}b ""c"""\n"二\n行"{cut}\n三\n'
    path = tmp_path / name
    path.write_bytes(mark + text.encode(encoding))
    table = Table.open(path, encoding=encoding, delimiter=delimiter)
    assert [row.values["text"] for row in table.rows()] == ["一加一", "二\n行", "三"]
    expected = f'text{cut}note{cut}added\n一加一{cut}"a{cut}b ""c"""{cut}2\n"二\n行"{cut}{cut}4\n'
    expected += f"三{cut}{cut}5\n"
    assert copy(table, tmp_path / "out").read_bytes() == mark + expected.encode(encoding)


def test_json_lines_keep_types_and_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"n": 1, "text": "一\u2028二", "deep": {"x": [None, 1.5]}}, {"text": "三"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    written = copy(Table.open(path), tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in written.strip().split("\n")] == [
        {**row, "added": line} for line, row in enumerate(rows, 1)
    ]


def test_of_columns_with_one_name_the_first_is_read_and_all_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,,,text\n一,x,,二\n", encoding="utf-8")
    table = Table.open(path)
    assert [row.values["text"] for row in table.rows()] == ["一"]
    assert copy(table, tmp_path / "out").read_text(encoding="utf-8") == (
        "text,,,text,added\n一,x,,二,2\n"
    )


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n一\n", encoding="utf-8")
    output = tmp_path / "out.csv"
    output.write_text("old")
    table = Table.open(path)

    def break_off() -> object:
        yield next(table.rows()), [1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.write(output, ["added"], break_off())  # type: ignore[arg-type]
    assert output.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "out.csv"]
