"""A file as the page and other clients take it: columns, rows, and which column is what."""

import itertools
import json
from typing import IO, Any

from service.files.forms import Upload
from tables.dialogues import expand_dialogues
from tables.layouts import ColumnMapping, recognise_layout
from tables.speakers import assign_speakers
from tables.table import Limits, Table, check_size, spell

_SAMPLE_ROWS = 50
_MOST_SPEAKERS = 200


def recognise(table: Table) -> tuple[Table, ColumnMapping]:
    """The table with one row a turn, and what its columns are."""
    sample = [row.cells for row in itertools.islice(table.rows(), _SAMPLE_ROWS)]
    mapping = recognise_layout(table.header, sample)
    if table.format == "transcript":
        mapping = mapping._replace(layout="transcript")
    return expand_dialogues(table, mapping)


def write_answer(upload: Upload, limits: Limits, file: IO[str]) -> None:
    """Write the JSON of the answer to `POST /files/read`, a row at a time."""
    table, mapping = recognise(upload.open(limits))
    head = {
        "format": table.format,
        "sheets": list(table.sheets),
        "sheet": table.sheet,
        "columns": list(table.header),
    }
    file.write(_dump(head)[:-1] + ', "rows": [')
    names: dict[str, None] = {}
    count, cells = 0, 0
    for count, row in enumerate(table.rows(), 1):
        cells += len(row.cells)
        check_size(table, limits, rows=count, columns=len(table.header), whole=True)
        file.write((",\n" if count > 1 else "\n") + _dump([spell(cell) for cell in row.cells]))
        if mapping.speaker and len(names) <= _MOST_SPEAKERS:
            names[(spell(row.values.get(mapping.speaker)) or "").strip()] = None
    speakers = assign_speakers(names)
    roles = mapping._asdict()
    del roles["order"], roles["is_guess"]
    guess = ["no column is named as texts are; the one with the longest is taken for it"]
    tail = {
        "row_count": count,
        "mapping": {**roles, "speakers": speakers},
        "warnings": [
            *table.notes,
            *(guess if mapping.is_guess else ()),
            *_doubt(names, speakers),
        ],
    }
    file.write("\n], " + _dump(tail)[1:])


def _doubt(names: dict[str, None], speakers: dict[str, Any]) -> list[str]:
    unknown = [name for name in names if name and name not in speakers]
    if len(names) > _MOST_SPEAKERS:
        return [f"the column with the speakers has more than {_MOST_SPEAKERS} names"]
    if unknown:
        return [f"{len(unknown)} speakers are not known as teacher or student; say who is who"]
    return []


def _dump(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape
        text = json.dumps(value)
    return text
