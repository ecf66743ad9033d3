"""How a text file is encoded: by its byte-order mark, as UTF-8, or as Chinese Excel writes."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tables.errors import FileError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHUNK_BYTES = 1 << 20
_CHINESE = "gb18030"
_USUAL_SHARE = 0.9  # of the characters beyond ASCII that a true GB 18030 text has in GB 2312
_REMEDY = "save it as UTF-8 (from a spreadsheet: CSV UTF-8), or name its encoding"


class Encoding(NamedTuple):
    """A codec, and whether a byte-order mark stands in front."""

    name: str
    has_mark: bool = False


def recognise_encoding(path: Path, asked: str | None = None) -> Encoding:
    """Return how the file is encoded; `asked` is what its owner says.

    FileError names file, line and remedy when it is none of what can be recognised. GB 18030
    makes Chinese characters of nearly any bytes, so it is believed only where nearly all of them
    are everyday ones.
    """
    try:
        with path.open("rb") as file:
            first = file.read(4096)
        name = codecs.lookup(asked).name if asked else "utf-8"
        for mark, marked in _MARKS:
            if first.startswith(mark) and (not asked or marked.startswith(name)):
                return _check(path, Encoding(marked, True))
        if b"\0" in first and not name.startswith("utf-16"):
            raise FileError(f"{path}: holds zero bytes, so it is no text file here; {_REMEDY}")
        if asked:
            return _check(path, Encoding(name))
        line = _find_fault(path, "utf-8")
        if line is None:
            return Encoding("utf-8")
        if _is_chinese(path):
            return Encoding(_CHINESE)
    except LookupError as error:
        raise FileError(f"--encoding {asked}: unknown; try utf-8 or gb18030") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    raise FileError(
        f"{path}: not utf-8 (near line {line}); {_REMEDY}: --encoding gb18030 for Chinese Excel"
    )


@contextmanager
def open_text(path: Path, encoding: Encoding, *, newline: str | None = "") -> Iterator[IO[str]]:
    """Open for reading behind the mark."""
    try:
        with path.open(encoding=encoding.name, newline=newline) as file:
            if encoding.has_mark:
                file.read(1)
            yield file
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def mark(encoding: Encoding) -> str:
    """What stands in front of the text when it is written."""
    return "\ufeff" if encoding.has_mark else ""


def _check(path: Path, encoding: Encoding) -> Encoding:
    line = _find_fault(path, encoding.name)
    if line is not None:
        raise FileError(
            f"{path}: not {encoding.name} (near line {line}); {_REMEDY}: --encoding gb18030 for "
            "Chinese Excel"
        )
    return encoding


def _find_fault(path: Path, name: str) -> int | None:
    """The line with the first byte that is not so encoded."""
    decoder = codecs.getincrementaldecoder(name)()
    line = 1
    with path.open("rb") as file:
        chunk = b" "
        try:
            while chunk:
                chunk = file.read(_CHUNK_BYTES)
                decoder.decode(chunk, final=not chunk)
                line += chunk.count(b"\n")
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].count(b"\n")
    return None


def _is_chinese(path: Path) -> bool:
    usual = total = 0
    try:
        with path.open(encoding=_CHINESE) as file:
            while text := file.read(_CHUNK_BYTES):
                beyond = [letter for letter in text if letter > "\x7f"]
                total += len(beyond)
                usual += sum(bool(letter.encode("gb2312", "ignore")) for letter in beyond)
    except UnicodeDecodeError:
        return False
    return usual >= _USUAL_SHARE * total
