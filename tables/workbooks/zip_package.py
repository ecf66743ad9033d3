"""The zip package of a workbook: its sheets, and whether it is safe to unpack."""

import posixpath
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from tables.errors import FileError
from tables.table import Limits

_MOST_PARTS = 10_000
_COMPOUND = bytes.fromhex("d0cf11e0a1b11ae1")
"""How files of Excel 97 to 2003 begin, and encrypted ones."""
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_REMEDY = "open it in a spreadsheet and save it anew as .xlsx"
BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, expat.ExpatError)
"""What a package that is damaged raises while it is read."""


class SheetPart(NamedTuple):
    """A sheet of the workbook, and the part of the package that holds it."""

    name: str
    part: str
    is_hidden: bool


def list_sheets(path: Path, limits: Limits) -> list[SheetPart]:
    """The sheets in order; FileError if the file is no workbook that can be read.

    What it unpacks to is checked before anything is unpacked.
    """
    _check_beginning(path)
    try:
        with zipfile.ZipFile(path) as package:
            _check_parts(path, package, limits)
            sheets = _read_sheets(package)
    except BROKEN as error:
        raise explain(path) from error
    except RuntimeError as error:  # a part of the zip file has a password
        raise FileError(f"{path}: is protected by a password; save it without one") from error
    if not sheets:
        raise FileError(f"{path}: has no sheet with cells")
    return sheets


def read_part(path: Path, part: str) -> bytes:
    """A part of a package that `list_sheets` has checked."""
    try:
        with zipfile.ZipFile(path) as package:
            return package.read(part)
    except BROKEN as error:
        raise explain(path) from error


def explain(path: Path) -> FileError:
    return FileError(f"{path}: is broken or no workbook; {_REMEDY}")


def read_elements(xml: bytes) -> list[tuple[str, dict[str, str]]]:
    """Names, less their prefix, and attributes of all elements; for small parts."""
    elements: list[tuple[str, dict[str, str]]] = []
    parser = make_parser()
    parser.StartElementHandler = lambda name, attributes: elements.append(
        (name.rpartition(":")[2], attributes)
    )
    parser.Parse(xml, True)
    return elements


def make_parser() -> expat.XMLParserType:
    """A parser that refuses what no workbook has and attacks need: a document type."""
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise zipfile.BadZipFile("a document type")

    parser.StartDoctypeDeclHandler = refuse
    return parser


def _check_beginning(path: Path) -> None:
    try:
        with path.open("rb") as file:
            first = file.read(8)
            if first == _COMPOUND:
                if _ENCRYPTED in file.read(1 << 20):
                    raise FileError(f"{path}: is protected by a password; save it without one")
                raise FileError(f"{path}: is a workbook of Excel 97 to 2003; {_REMEDY}")
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    if not first:
        raise FileError(f"{path}: is empty")
    if not first.startswith(b"PK"):
        raise explain(path)


def _check_parts(path: Path, package: zipfile.ZipFile, limits: Limits) -> None:
    parts = package.infolist()
    size = sum(part.file_size for part in parts)
    if len(parts) > _MOST_PARTS or size > limits.unpacked_bytes:
        raise FileError(
            f"{path}: unpacks to {size:,} bytes in {len(parts):,} parts, and at most "
            f"{limits.unpacked_bytes:,} are read; part the workbook"
        )


def _read_sheets(package: zipfile.ZipFile) -> list[SheetPart]:
    book = _find_target(package, "_rels/.rels", "", "/officeDocument")
    folder, name = posixpath.split(book)
    targets = {
        attributes["Id"]: posixpath.normpath(posixpath.join("/", folder, attributes["Target"]))[1:]
        for tag, attributes in read_elements(
            package.read(posixpath.join(folder, "_rels", name + ".rels"))
        )
        if tag == "Relationship" and attributes["Type"].endswith("/worksheet")
    }
    sheets = []
    for tag, attributes in read_elements(package.read(book)):
        ids = [value for key, value in attributes.items() if key.endswith(":id")]
        if tag == "sheet" and ids and ids[0] in targets:
            hidden = attributes.get("state", "visible") != "visible"
            sheets.append(SheetPart(attributes["name"], targets[ids[0]], hidden))
    return sheets


def _find_target(package: zipfile.ZipFile, relations: str, folder: str, kind: str) -> str:
    for tag, attributes in read_elements(package.read(relations)):
        if tag == "Relationship" and attributes["Type"].endswith(kind):
            return posixpath.normpath(posixpath.join("/", folder, attributes["Target"]))[1:]
    raise KeyError(kind)
