"""CSV and TSV: what a table holds beside our columns comes out as it went in, to the byte."""

import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.errors import FileError
from tables.files import open_table
from tables.table import Limits, Table

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8)


def copy(table: Table, path: Path) -> Path:
    """The table with one more column."""
    table.write(path, ["added"], ((row, [row.line]) for row in table.rows()))
    return path


@settings(max_examples=40)
@given(st.lists(st.tuples(CELL, CELL), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_cells_stay_as_they_are(rows: list[tuple[str, str]], end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator=end).writerows([("text", "note"), *rows])
        table = open_table(path)
        copied = copy(table, Path(folder) / "out.csv")
        with copied.open(encoding="utf-8", newline="") as file:
            read = list(csv.reader(file))
        assert copied.read_bytes().count(end.encode()) >= len(rows) + 1
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
    table = open_table(path, encoding=encoding, delimiter=delimiter)
    assert [row.values["text"] for row in table.rows()] == ["一加一", "二\n行", "三"]
    expected = f'text{cut}note{cut}added\n一加一{cut}"a{cut}b ""c"""{cut}2\n"二\n行"{cut}{cut}4\n'
    expected += f"三{cut}{cut}5\n"
    assert copy(table, tmp_path / "out").read_bytes() == mark + expected.encode(encoding)


@pytest.mark.parametrize(
    ("content", "delimiter", "encoding"),
    [
        ('text;note\r\n一;"二;"\r\n'.encode("gb18030"), ";", "gb18030"),
        ("text\tnote\n一\t二\n".encode("utf-16"), "\t", "utf-16-le"),
        (b"\xfe\xff" + "text,note\n一,二\n".encode("utf-16-be"), ",", "utf-16-be"),
        (b"text|note\n1|2\n", "|", "utf-8"),
    ],
)
def test_delimiter_and_encoding_are_recognised_and_kept(
    tmp_path: Path, content: bytes, delimiter: str, encoding: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    table = open_table(path)
    assert (table.delimiter, table.encoding) == (delimiter, encoding)
    assert list(table.header) == ["text", "note"]
    copied = copy(table, tmp_path / "out").read_bytes()
    added = [f"{delimiter}added".encode(encoding), f"{delimiter}2".encode(encoding)]
    for cell in added:
        assert cell in copied
        copied = copied.replace(cell, b"", 1)
    assert copied == content


def test_our_cells_are_never_executed_and_those_of_the_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n=1+1\n@b\n", encoding="utf-8")
    table = open_table(path)
    values = [["=2+2", -0.5], ["-0.5", "+a"]]
    table.write(tmp_path / "out.csv", ["a", "b"], zip(table.rows(), values, strict=True))
    written = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert written == "text,a,b\n=1+1,'=2+2,-0.5\n@b,-0.5,'+a\n"


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        ("é,ü\nà,è\n".encode("latin-1"), Limits(), "a.csv: not utf-8 (near line 1); save it"),
        (b"PK\x03\x04\0\0", Limits(), "a.csv: holds zero bytes"),
        (b"a,b\n1,2\n1,2,3\n", Limits(), "a.csv:3: has 3 cells and the header 2"),
        (b"," * 999_999 + b"\n", Limits(), "has 1,000,000 columns, and at most 16,384 are read"),
        (b"a\n1\n2\n", Limits(rows=1), "has more than 1 rows"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, content: bytes, limits: Limits, message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(FileError) as error:
        list(open_table(path, limits=limits).rows())
    assert message in str(error.value)


def test_of_columns_with_one_name_the_first_is_read_and_all_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,,,text\n一,x,,二\n", encoding="utf-8")
    table = open_table(path)
    assert [row.values["text"] for row in table.rows()] == ["一"]
    assert copy(table, tmp_path / "out").read_text(encoding="utf-8") == (
        "text,,,text,added\n一,x,,二,2\n"
    )


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n一\n", encoding="utf-8")
    output = tmp_path / "out.csv"
    output.write_text("old")
    table = open_table(path)

    def break_off() -> object:
        yield next(table.rows()), [1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.write(output, ["added"], break_off())  # type: ignore[arg-type]
    assert output.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "out.csv"]
