"""The file for review: a row for each doubt, the strongest first, with room for the answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.inputs import DialogueTurn
from tables.errors import FileError
from tables.files import find_format, write_rows
from training.audit.findings import Finding
from training.audit.rows import Rows
from training.data.examples import Example
from training.errors import BadInput

HEADER = (
    "rank", "file", "row", "id", "speaker", "before", "text", "after", "given_label",
    "suggested_label", "how_sure", "why", "your_label",
)  # fmt: skip
_DIGITS = 4


def check_review(path: Path, *, overwrite: bool) -> None:
    """BadInput if a file cannot be written there, or may not."""
    try:
        find_format(path)
    except FileError as error:
        raise BadInput(str(error)) from error
    if path.exists() and not overwrite:
        raise BadInput(f"{path}: exists; choose another --output, or say --overwrite")


def write_review(rows: Rows, findings: Sequence[Finding], path: Path) -> None:
    """Write the findings, in the format that the name of `path` ends in.

    Whole or not at all, and with nothing that a spreadsheet would execute.
    """
    cells = [
        _list_cells(rank, each, rows.examples[each.place], rows.names)
        for rank, each in enumerate(findings, 1)
    ]
    try:
        write_rows(path, find_format(path), HEADER, cells)
    except FileError as error:
        raise BadInput(str(error)) from error


def _list_cells(rank: int, finding: Finding, example: Example, names: Sequence[str]) -> list[Any]:
    item = example.item
    turn = item if isinstance(item, DialogueTurn) else None
    return [
        rank,
        example.file,
        example.line,
        example.id,
        turn.speaker if turn else None,
        turn.previous[-1].text if turn and turn.previous else None,
        item.text,
        turn.following[0].text if turn and turn.following else None,
        names[example.label],
        names[finding.suggested],
        round(finding.sure, _DIGITS),
        finding.why,
        None,
    ]
