"""What a form holds: a file, and the columns or rows that go with it."""

import json
import shutil
from pathlib import Path
from typing import IO, Any, NamedTuple

from tables.files import SUFFIXES, open_table
from tables.table import FORMATS, Format, Limits, Table

_CELLS = (str, int, float, bool, type(None))


class Refusal(Exception):
    """A field of the form is wrong; the message never quotes it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class Rows(NamedTuple):
    """Names of columns, and cells below them."""

    names: list[str]
    rows: list[list[Any]]


class Upload:
    """The fields of a form."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.file_name = ""
        self.path: Path | None = None

    def take_file(self, name: str, content: IO[bytes]) -> None:
        """Keep the file under a name of ours, which messages may tell, with its own ending."""
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            raise Refusal(
                "file", f"its name must end in one of {', '.join(SUFFIXES)}; save it as one of them"
            )
        self.file_name, self.path = name, Path("upload" + suffix)
        content.seek(0)
        with self.path.open("wb") as file:
            shutil.copyfileobj(content, file)

    def open(self, limits: Limits) -> Table:
        """The table of the file; FileError or Refusal if it is none."""
        if self.path is None:
            raise Refusal("file", "is missing; send it with its name")
        return open_table(self.path, sheet=self.fields.get("sheet") or None, limits=limits)

    def find_format(self) -> Format | None:
        """The format that is asked for."""
        wanted = self.fields.get("format")
        if not wanted:
            return None
        for format in FORMATS:
            if format == wanted:
                return format
        raise Refusal("format", f"must be one of {', '.join(FORMATS)}")


def read_columns(upload: Upload, limits: Limits) -> Rows:
    """The columns to add; without any the table is only converted."""
    if "columns" not in upload.fields:
        return Rows([], [])
    return _parse("columns", upload.fields["columns"], "names", limits)


def read_base(upload: Upload, limits: Limits) -> Rows | None:
    """The rows to write where there is no file."""
    if upload.path is not None:
        return None
    if "base" not in upload.fields:
        raise Refusal("file", "is missing, and so is `base`; send one of them")
    return _parse("base", upload.fields["base"], "columns", limits)


def _parse(field: str, text: str, key: str, limits: Limits) -> Rows:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(field, "is not valid JSON") from error
    if not isinstance(content, dict) or content.keys() != {key, "rows"}:
        raise Refusal(field, f"must be an object with `{key}` and `rows`")
    names, rows = content[key], content["rows"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refusal(f"{field}.{key}", "must be a list of texts")
    if len(names) > limits.columns:
        raise Refusal(f"{field}.{key}", f"has more than {limits.columns:,} columns")
    if not isinstance(rows, list) or len(rows) > limits.rows:
        raise Refusal(f"{field}.rows", f"must be a list of at most {limits.rows:,} rows")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise Refusal(f"{field}.rows.{number}", f"must be a list of {len(names)} cells")
        if not all(isinstance(cell, _CELLS) or _is_list_of_texts(cell) for cell in row):
            raise Refusal(f"{field}.rows.{number}", "has a cell that is no text, number or null")
    return Rows(names, rows)


def _is_list_of_texts(cell: Any) -> bool:
    return isinstance(cell, list) and all(isinstance(each, str) for each in cell)
