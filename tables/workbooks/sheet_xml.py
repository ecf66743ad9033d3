"""The XML of a sheet: what stands where, and cells put beside its rows.

Only where our cells go is anything changed: all other bytes stay, so that whatever a spreadsheet
keeps in a sheet is still there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from tables.table import spell
from tables.workbooks.zip_package import make_parser

MOST_COLUMNS = 16_384
LONGEST_TEXT = 32_767
"""Characters that a cell can hold."""
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPANS = re.compile(rb"""\sspans=(?:"[^"]*"|'[^']*')""")


class Area(NamedTuple):
    """Cells that are merged; rows and columns from 1, both ends included."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


class SheetFacts(NamedTuple):
    """What cannot be seen from the values of a sheet."""

    columns: int
    """The last one with something in it."""
    merged: list[Area]
    formulas: int
    empty_formulas: list[str]
    """Cells whose formula has no stored value."""


class _Cell(NamedTuple):
    column: int
    start: int
    end: int
    style: str | None


class _Element(NamedTuple):
    """A row: its first tag goes from `start` to `tag_end`."""

    number: int
    prefix: str
    start: int
    tag_end: int
    end: int
    """Where its last tag begins; `start` when it has no content."""
    style: str | None
    """Of its last cell that holds something."""
    empty: list[_Cell]
    """Cells that hold nothing but a style; the others need not be remembered."""


class _Scan:
    """Walks through a sheet once."""

    def __init__(self, xml: bytes) -> None:
        self.facts = SheetFacts(0, [], 0, [])
        self.rows: list[_Element] = []
        self.dimension: tuple[int, int, str] | None = None
        self._xml = xml
        self._columns = self._formulas = 0
        self._row: list[Any] = []
        self._empty: list[_Cell] = []
        self._style: str | None = None
        self._column = 0
        self._cell: list[Any] = []
        self._has_formula = self._has_value = False
        self._value = 0
        self._parser = make_parser()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.Parse(xml, True)
        self.facts = self.facts._replace(columns=self._columns, formulas=self._formulas)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        prefix, _, name = tag.rpartition(":")
        at = self._parser.CurrentByteIndex
        if name == "c":
            place = attributes.get("r")
            self._column = read_place(place)[1] if place else self._column + 1
            self._cell = [self._column, at, attributes.get("s"), place]
            self._has_formula = self._has_value = False
        elif name == "f":
            self._has_formula = True
        elif name == "v":
            self._value = at
        elif name == "is":
            self._has_value = True
        elif name == "row":
            last = self.rows[-1].number if self.rows else 0
            self._row = [int(attributes.get("r", last + 1)), f"{prefix}:" if prefix else "", at]
            self._empty, self._style, self._column = [], None, 0
        elif name == "mergeCell":
            area = read_area(attributes["ref"])
            self.facts.merged.append(area)
            self._columns = max(self._columns, area.last_column)
        elif name == "dimension":
            end, is_whole = self._find_tag_end(at)
            if is_whole:
                self.dimension = (at, end, f"{prefix}:" if prefix else "")

    def _end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        at = self._parser.CurrentByteIndex
        if name == "v":  # of a formula that nobody has computed yet it is there and empty
            end, is_empty = self._find_tag_end(self._value)
            self._has_value = not is_empty and at > end
        elif name == "c":
            column, start, style, place = self._cell
            end, is_empty = self._find_tag_end(start)
            end = end if is_empty else self._find_tag_end(at)[0]
            if self._has_formula:
                self._formulas += 1
                if not self._has_value:
                    self.facts.empty_formulas.append(place or f"row {self._row[0]}")
            if self._has_formula or self._has_value:
                self._columns, self._style = max(self._columns, column), style
            else:
                self._empty.append(_Cell(column, start, end, style))
        elif name == "row":
            number, prefix, start = self._row
            tag_end, is_empty = self._find_tag_end(start)
            end = start if is_empty else at
            self.rows.append(
                _Element(number, prefix, start, tag_end, end, self._style, self._empty)
            )

    def _find_tag_end(self, start: int) -> tuple[int, bool]:
        """Where the tag ends that begins there, and whether it is a whole element.

        No attribute of these elements holds a `>`.
        """
        end = self._xml.index(b">", start) + 1
        return end, self._xml[end - 2 : end] == b"/>"


def scan_sheet(xml: bytes) -> SheetFacts:
    """What there is to know of a sheet beside its values."""
    return _Scan(xml).facts


def add_cells(xml: bytes, cells: Mapping[int, Sequence[Any]]) -> bytes:
    """Put cells (row number → values) behind the last column of a sheet; raises ValueError when
    there is no room.

    Texts are typed as texts, so nothing in them is ever executed. The cells of the first of the
    rows, the header, look as the cell before them.
    """
    scan = _Scan(xml)
    first = scan.facts.columns + 1
    width = max(map(len, cells.values()), default=0)
    if first + width - 1 > MOST_COLUMNS:
        raise ValueError("the sheet has no room for more columns")
    edits: list[tuple[int, int, bytes]] = []
    if scan.dimension:
        start, end, prefix = scan.dimension
        last_row = max(row.number for row in scan.rows)
        reference = f"A1:{name_column(first + width - 1)}{last_row}"
        edits.append((start, end, f'<{prefix}dimension ref="{reference}"/>'.encode()))
    header = min(cells, default=0)
    for row in scan.rows:
        if row.number in cells:
            edits += _edit_row(xml, row, first, cells[row.number], is_header=row.number == header)
    parts: list[bytes] = []
    place = 0
    for start, end, content in edits:
        parts += [xml[place:start], content]
        place = end
    return b"".join([*parts, xml[place:]])


def _edit_row(
    xml: bytes, row: _Element, first: int, values: Sequence[Any], *, is_header: bool
) -> list[tuple[int, int, bytes]]:
    # Cells that hold nothing but a style may stand where ours go.
    styles = {cell.column: cell.style for cell in row.empty}
    if is_header:
        styles |= dict.fromkeys(range(first, first + len(values)), row.style)
    content = "".join(
        _make_cell(row.prefix, f"{name_column(column)}{row.number}", styles.get(column), value)
        for column, value in enumerate(values, first)
    ).encode()
    tag = xml[row.start : row.tag_end]
    if row.end == row.start:  # <row/>
        opened = _SPANS.sub(b"", tag[:-2]).rstrip() + b">"
        return [(row.start, row.tag_end, opened + content + f"</{row.prefix}row>".encode())]
    edits = [(row.start, row.tag_end, _SPANS.sub(b"", tag))]
    place, written = row.end, False
    for cell in row.empty:
        if cell.column < first:
            continue
        if not written:
            edits.append((cell.start, cell.start, content))
            written = True
        if cell.column < first + len(values):
            edits.append((cell.start, cell.end, b""))
    if not written:
        edits.append((place, place, content))
    return edits


def _make_cell(prefix: str, place: str, style: str | None, value: Any) -> str:
    look = f" s={quoteattr(style)}" if style is not None else ""
    head = f'<{prefix}c r="{place}"{look}'
    if value is None or value == "":
        return f"{head}/>" if look else ""
    if isinstance(value, bool):
        return f'{head} t="b"><{prefix}v>{int(value)}</{prefix}v></{prefix}c>'
    if isinstance(value, int | float) and abs(value) < 1e15:
        return f"{head}><{prefix}v>{value!r}</{prefix}v></{prefix}c>"
    text = escape(clean_text(spell(value) or "")[:LONGEST_TEXT]).replace("\r", "&#13;")
    return (
        f'{head} t="inlineStr"><{prefix}is><{prefix}t xml:space="preserve">{text}</{prefix}t>'
        f"</{prefix}is></{prefix}c>"
    )


def clean_text(text: str) -> str:
    """The text with a mark for each character that XML cannot hold."""
    return _ILLEGAL.sub("\ufffd", text)


def read_place(place: str) -> tuple[int, int]:
    """Row and column of `B7`: 7 and 2."""
    letters = place.replace("$", "").rstrip("0123456789")
    column = 0
    for letter in letters.upper():
        column = column * 26 + ord(letter) - 64
    return int(place.replace("$", "")[len(letters) :] or 0), column


def read_area(reference: str) -> Area:
    """The cells of `A1:C2`, or of `A1`."""
    first, _, last = reference.partition(":")
    return Area(*read_place(first), *read_place(last or first))


def name_column(number: int) -> str:
    """The letters of a column: 28 is `AB`."""
    letters = ""
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(65 + digit) + letters
    return letters
