"""XLSX: one sheet is read with openpyxl, and our columns are put beside its rows.

The package is copied part by part and only the XML of that sheet is changed, and only where our
cells go: openpyxl would lose charts, pictures, macros and whatever else it does not know.
"""

import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell

from tables.errors import FileError
from tables.table import Limits, Row, Table, check_size, map_cells, spell
from tables.whole_file import replace_whole
from tables.workbooks.sheet_xml import LONGEST_TEXT, Area, add_cells, clean_text, scan_sheet
from tables.workbooks.zip_package import BROKEN, SheetPart, explain, list_sheets, read_part

SUFFIXES = (".xlsx", ".xlsm")
_SHOWN = 3
_Cells = list[tuple[int, list[Any]]]
"""Row number and values, to the last one that is not empty; rows that are empty are left out."""


class WorkbookTable(Table):
    """The rows of a sheet, held in memory; the first row names the columns."""

    format = "xlsx"

    def __init__(self, path: Path, sheets: Sequence[SheetPart], sheet: SheetPart, limits: Limits):
        self.path, self.sheets, self.sheet = path, [each.name for each in sheets], sheet.name
        self._part = sheet.part
        found = self._read_values(limits)
        notes = self._heed_facts(found)
        header_at = _find_header(found, notes.merged)
        self._header_line, names = found[header_at]
        width = max(len(cells) for _, cells in found[header_at:])
        names = names + [None] * (width - len(names))
        self.header = tuple(spell(name) or "" for name in names)
        self._rows = found[header_at + 1 :]
        if header_at:
            notes.texts.append(
                f"the columns are named by row {self._header_line}; what stands above is left out"
            )
        self.notes = tuple(notes.texts)
        if not self._rows:
            raise FileError(f"{self._where}: has no rows below the names of its columns")

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        sheet: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
    ) -> "WorkbookTable":
        """Read a sheet; without a name the first one that is shown.

        FileError names file, sheet and what is wrong.
        """
        sheets = list_sheets(path, limits)
        names = ", ".join(each.name for each in sheets)
        if sheet is None:
            shown = [each for each in sheets if not each.is_hidden]
            return cls(path, sheets, (shown or sheets)[0], limits)
        for each in sheets:
            if each.name == sheet:
                return cls(path, sheets, each, limits)
        raise FileError(f"{path}: has no such sheet; name one of these with --sheet: {names}")

    def rows(self) -> Iterator[Row]:
        width = len(self.header)
        for line, found in self._rows:
            cells = found + [None] * (width - len(found))
            yield Row(line, map_cells(self.header, cells), cells)

    def place(self, line: int) -> str:
        return f"{self._where}, row {line}"

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        cells: dict[int, Sequence[Any]] = {self._header_line: list(added)}
        for row, values in rows:
            cells[row.line] = values
        try:
            xml = add_cells(read_part(self.path, self._part), cells)
        except ValueError as error:
            raise FileError(f"{self._where}: {error}") from error
        with (
            replace_whole(path) as temporary,
            zipfile.ZipFile(self.path) as old,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for part in old.infolist():
                if part.filename == self._part:
                    new.writestr(part, xml)
                    continue
                with old.open(part) as source, new.open(part, "w") as target:
                    shutil.copyfileobj(source, target)
        return len(cells) - 1

    @property
    def _where(self) -> str:
        return f"{self.path}, sheet {self.sheet}"

    def _read_values(self, limits: Limits) -> _Cells:
        found: _Cells = []
        width = 0
        try:
            for number, values in enumerate(_iterate(self.path, self.sheet or ""), 1):
                cells = list(values)
                while cells and (cells[-1] is None or cells[-1] == ""):
                    cells.pop()
                if cells:
                    found.append((number, cells))
                    width = max(width, len(cells))
                    check_size(self, limits, rows=len(found), columns=width, whole=True)
        except (FileError, MemoryError):
            raise
        except Exception as error:  # openpyxl raises whatever a wrong file leads it to
            raise explain(self.path) from error
        if not found:
            names = ", ".join(name for name in self.sheets if name != self.sheet)
            raise FileError(
                f"{self._where}: is empty" + (f"; others, for --sheet: {names}" if names else "")
            )
        return found

    def _heed_facts(self, found: _Cells) -> "_Notes":
        """Fill what is merged downwards, and say what formulas hold."""
        xml = read_part(self.path, self._part)
        notes = _Notes()
        if b"mergeCell" not in xml and b"<f" not in xml and b":f" not in xml:
            return notes
        try:
            facts = scan_sheet(xml)
        except (*BROKEN, ValueError) as error:
            raise explain(self.path) from error
        notes.merged = facts.merged
        if filled := _fill_merged(found, facts.merged):
            notes.texts.append(f"{filled:,} cells that are merged downwards are read as one value")
        if facts.empty_formulas:
            places = ", ".join(facts.empty_formulas[:_SHOWN])
            notes.texts.append(
                f"{len(facts.empty_formulas):,} formulas have no stored value ({places}) and are "
                "read as empty; open and save the workbook in a spreadsheet"
            )
        if stored := facts.formulas - len(facts.empty_formulas):
            notes.texts.append(f"{stored:,} formulas are read as the values stored with them")
        return notes


class _Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.merged: list[Area] = []


def write_workbook(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a new workbook of one sheet, whole or not at all; returns how many rows.

    Texts are typed as texts, so nothing in them is ever executed.
    """
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    count = 0
    try:
        sheet.append([_make_cell(sheet, name, 1) for name in header])
        for count, cells in enumerate(rows, 1):
            sheet.append([_make_cell(sheet, value, count + 1) for value in cells])
    finally:
        sheet.close()
    with replace_whole(path) as temporary:
        book.save(temporary)
    return count


def _make_cell(sheet: Any, value: Any, line: int) -> Any:
    if not isinstance(value, str | list | dict):
        return WriteOnlyCell(sheet, value)
    text = clean_text(spell(value) or "")
    if len(text) > LONGEST_TEXT:
        raise FileError(
            f"row {line}: a text has {len(text):,} characters and a cell of a workbook holds "
            f"{LONGEST_TEXT:,}; choose another format"
        )
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell


def _iterate(path: Path, sheet: str) -> Iterator[tuple[Any, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that it does not read
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            page: Any = book[sheet]
            page.reset_dimensions()  # as programs write them they are often wrong
            yield from page.iter_rows(values_only=True)
        finally:
            book.close()


def _find_header(found: _Cells, merged: Sequence[Area]) -> int:
    """Which row names the columns: the first one that is no title over several columns."""
    titles = {area.first_row for area in merged if area.last_column > area.first_column}
    for place, (line, cells) in enumerate(found[:-1]):
        alone = sum(value is not None for value in cells) == 1
        if not (alone and line in titles):
            return place
    return 0


def _fill_merged(found: _Cells, merged: Sequence[Area]) -> int:
    """Give the cells of an area that is merged downwards the value that is shown for all."""
    rows = dict(found)
    filled = 0
    for area in merged:
        cells = rows.get(area.first_row, [])
        place = area.first_column - 1
        if area.last_row == area.first_row or place >= len(cells) or cells[place] is None:
            continue
        for line in range(area.first_row + 1, min(area.last_row, found[-1][0]) + 1):
            below = rows.get(line)
            if below is not None:
                below += [None] * (place + 1 - len(below))
                if below[place] is None:
                    below[place] = cells[place]
                    filled += 1
    return filled
