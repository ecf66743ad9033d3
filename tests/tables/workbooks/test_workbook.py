"""Workbooks come back as they were, with our columns beside the rows."""

import datetime
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.styles import Font

from tables.errors import FileError
from tables.files import open_table, write_rows
from tables.table import Limits, Table

DAY = datetime.datetime(2026, 9, 1, 8, 30)
CELL = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2100, 1, 1)).map(
        lambda each: each.replace(microsecond=0)
    )
    | st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        max_size=6,
    ).map(lambda text: text.lstrip("=") or None)
)
"""What a sheet can hold beside formulas."""


def save(path: Path, rows: list[list[Any]], title: str = "Talk") -> Path:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def add(table: Table, path: Path, names: list[str], values: list[list[Any]]) -> Path:
    table.write(path, names, zip(table.rows(), values, strict=True))
    return path


def read_values(path: Path, sheet: str = "Talk") -> list[list[Any]]:
    return [list(row) for row in load_workbook(path)[sheet].iter_rows(values_only=True)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(CELL, min_size=1, max_size=3), min_size=1, max_size=4))
def test_any_sheet_comes_back_with_one_more_column(rows: list[list[Any]]) -> None:
    rows = [["text", "note", "more"], *([f"row {n}", *row] for n, row in enumerate(rows))]
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "in.xlsx"), rows)
        table = open_table(path)
        own = [["=1+1"], *([number] for number in range(1, len(rows) - 1))]
        written = read_values(add(table, Path(folder, "out.xlsx"), ["=added"], own))
        before = read_values(path)
    width = len(before[0])
    assert [row[:width] for row in written] == before
    assert [row[width:] for row in written] == [["=added"], *own]


def make_lesson(path: Path) -> Path:
    """A title over merged cells, dates, formulas, styles, widths, a chart, a second sheet."""
    path = save(path, [["Lesson 3"], [], ["Day", "Speaker", "Sentence", "Length"]])
    book = load_workbook(path)
    sheet = book["Talk"]
    sheet.merge_cells("A1:D1")
    for line, (day, speaker, text) in enumerate(
        [(DAY, "T", "八分之六怎么约分？"), (None, "Maya", "四分之三。"), (None, "T", "很好。")], 4
    ):
        sheet.append([day, speaker, text, f"=LEN(C{line})"])
    sheet.merge_cells("A4:A6")
    sheet["A4"].number_format = "yyyy-mm-dd hh:mm"
    sheet["C3"].font = sheet["D3"].font = Font(bold=True)
    sheet.column_dimensions["C"].width = 42
    sheet["F5"].font = Font(italic=True)  # a style where nothing stands, and ours will
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=4, min_row=4, max_row=6))
    sheet.add_chart(chart, "A10")
    book.create_sheet("Notes")["A1"] = "=1+1"
    book.save(path)
    return path


def test_a_workbook_stays_as_it_was_beside_our_columns(tmp_path: Path) -> None:
    path = make_lesson(tmp_path / "lesson.xlsx")
    table = open_table(path)
    assert list(table.header) == ["Day", "Speaker", "Sentence", "Length"]
    assert [row.values["Day"] for row in table.rows()] == [DAY] * 3
    assert [row.line for row in table.rows()] == [4, 5, 6]
    assert "the columns are named by row 3; what stands above is left out" in table.notes
    assert any("3 formulas have no stored value (D4, D5, D6)" in note for note in table.notes)
    values = [["I-Q", 0.5, True], ["R-FR", None, False], ["@F-F", 1, None]]
    output = add(table, tmp_path / "out.xlsx", ["label", "confidence", "review"], values)
    book = load_workbook(output)
    sheet = book["Talk"]
    assert [[cell.value for cell in row] for row in sheet["E3:G6"]] == [
        ["label", "confidence", "review"], *values,
    ]  # fmt: skip
    assert sheet["E6"].data_type == "s"
    assert sheet["D4"].value == "=LEN(C4)" and sheet["A4"].number_format == "yyyy-mm-dd hh:mm"
    assert sheet["C3"].font.bold and sheet.column_dimensions["C"].width == 42
    assert sorted(map(str, sheet.merged_cells.ranges)) == ["A1:D1", "A4:A6"]
    assert sheet["F5"].font.italic and sheet["E3"].font.bold
    assert sheet.dimensions == "A1:G6"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(output) as new:
        assert old.namelist() == new.namelist()
        changed = [name for name in old.namelist() if old.read(name) != new.read(name)]
    assert changed == ["xl/worksheets/sheet1.xml"]


def test_only_bytes_for_our_cells_are_put_into_a_sheet(tmp_path: Path) -> None:
    """Other programs write other prefixes, empty rows, cells without places; nothing is lost."""
    path = save(tmp_path / "in.xlsx", [["text"], ["a"], ["b"]])
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    xml = (
        f'<?xml version="1.0"?><x:worksheet xmlns:x="{space}"><x:sheetData>'
        '<x:row spans="1:1"><x:c t="str"><x:v>text</x:v></x:c></x:row><x:row r="2"/>'
        '<x:row r="3" spans="1:1" ht="20"><x:c r="A3" t="str"><x:v>a &gt; b</x:v></x:c>'
        '<x:c r="B3" s="0"/><x:c r="D3" s="0"/></x:row></x:sheetData>'
        "<x:extLst><!-- ours? --></x:extLst></x:worksheet>"
    )
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "x.xlsx", "w") as new:
        for name in old.namelist():
            content = xml if name.endswith("sheet1.xml") else old.read(name)
            new.writestr(name, content)
    table = open_table(tmp_path / "x.xlsx")
    output = add(table, tmp_path / "out.xlsx", ["l"], [["<&"]])
    with zipfile.ZipFile(output) as new:
        written = new.read("xl/worksheets/sheet1.xml").decode()
    text = '<x:is><x:t xml:space="preserve">{}</x:t></x:is></x:c>'
    expected = xml.replace(' spans="1:1"', "").replace(
        "</x:c></x:row>", '</x:c><x:c r="B1" t="inlineStr">' + text.format("l") + "</x:row>", 1
    )
    expected = expected.replace(
        '<x:c r="B3" s="0"/>', '<x:c r="B3" s="0" t="inlineStr">' + text.format("&lt;&amp;")
    )
    assert written == expected
    assert read_values(output, "Talk")[2][:2] == ["a > b", "<&"]


def test_a_sheet_is_chosen_by_name_and_hidden_ones_are_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", [["x"], [1]], "Hidden")
    book = load_workbook(path)
    for row in (["text"], ["一"]):
        book["Hidden"].sheet_state = "hidden"
        (book["Shown"] if "Shown" in book.sheetnames else book.create_sheet("Shown")).append(row)
    book.active = 1
    book.save(path)
    table = open_table(path)
    assert (table.sheet, list(table.sheets)) == ("Shown", ["Hidden", "Shown"])
    assert list(open_table(path, sheet="Hidden").header) == ["x"]
    with pytest.raises(FileError, match="no such sheet; name one of these with --sheet: Hidden"):
        open_table(path, sheet="Other")


def test_a_new_workbook_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.xlsx"
    write_rows(path, "xlsx", ["=a", "n"], [["=1+1", 2], ["\x07@x", None]])
    cells = [list(row) for row in load_workbook(path)["Sheet1"].iter_rows()]
    assert [[cell.value for cell in row] for row in cells] == [
        ["=a", "n"], ["=1+1", 2], ["\ufffd@x", None],
    ]  # fmt: skip
    assert all(row[0].data_type == "s" for row in cells)
    with pytest.raises(FileError, match="row 2: a text has 40,000 characters"):
        write_rows(path, "xlsx", ["a"], [["x" * 40_000]])


def pack(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(name, content)


def test_what_is_no_workbook_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    old = bytes.fromhex("d0cf11e0a1b11ae1")
    whole = make_lesson(tmp_path / "lesson.xlsx").read_bytes()
    for content, message in [
        (b"", "is empty"),
        (b"text,label\n", "is broken or no workbook"),
        (whole[: len(whole) // 2], "is broken or no workbook"),
        (old + b"\0" * 600, "is a workbook of Excel 97 to 2003"),
        (old + "EncryptedPackage".encode("utf-16-le"), "is protected by a password"),
    ]:
        path.write_bytes(content)
        with pytest.raises(FileError, match=f"a.xlsx: {message}"):
            open_table(path)
    pack(path, "other.txt", b"x")
    with pytest.raises(FileError, match="is broken or no workbook"):
        open_table(path)
    pack(path, "bomb", b"\0" * 3_000_000)
    with pytest.raises(FileError, match="unpacks to 3,000,000 bytes in 1 parts, and at most 1,000"):
        open_table(path, limits=Limits(unpacked_bytes=1000))


def test_damage_anywhere_is_a_message(tmp_path: Path) -> None:
    """Parts that are lost, torn, or expand without end: never an exception of a library."""
    whole = make_lesson(tmp_path / "lesson.xlsx")
    lol = b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
    with zipfile.ZipFile(whole) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    needed = [name for name in parts if name.endswith(("sheet1.xml", "workbook.xml", ".rels"))]
    for name in needed:
        for damage in (None, b"", parts[name][: len(parts[name]) // 2], lol):
            path = tmp_path / "broken.xlsx"
            with zipfile.ZipFile(path, "w") as package:
                for each, content in parts.items():
                    if each != name:
                        package.writestr(each, content)
                    elif damage is not None:
                        package.writestr(each, damage)
            try:
                table = open_table(path)
                list(table.rows())
            except FileError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "sheet Talk: is empty"),
        ([["text"]], "sheet Talk: has no rows below the names of its columns"),
        ([["a", "b", "c"], [1, 2, 3]], "sheet Talk: has 3 columns, and at most 2 are read"),
        ([["a"], [1], [2], [3], [4]], "sheet Talk: has more than 4 rows"),
    ],
)
def test_a_sheet_that_is_empty_or_too_large_is_said(
    tmp_path: Path, rows: list[list[Any]], message: str
) -> None:
    path = save(tmp_path / "a.xlsx", rows)
    with pytest.raises(FileError) as error:
        open_table(path, limits=Limits(columns=2, rows=4))
    assert message in str(error.value)


def test_a_full_sheet_has_no_room(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx", [["a"], [1]])
    book = load_workbook(path)
    book["Talk"]["XFD2"] = "end"
    book.save(path)
    table = open_table(path)
    with pytest.raises(FileError, match="has no room for more columns"):
        add(table, tmp_path / "out.xlsx", ["l"], [["x"]])
    assert not (tmp_path / "out.xlsx").exists()
