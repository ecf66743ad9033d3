"""Files with one row a dialogue, or a turn with its neighbours, as one row a turn.

MathDial joins the turns of a dialogue by `|EOM|` in one cell, each `Teacher: (move)text` or
`Name: text`; PMTD keeps the turns around each labelled one in `dialog_history`. What such a file
becomes has one row a turn, and is written so too: its own rows have no room for a label a turn.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tables.errors import FileError
from tables.files import write_rows
from tables.layouts import END_OF_TURN, ColumnMapping
from tables.table import Row, Table, map_cells, spell
from tables.transcript import Turn, split_turn

_MOVE = re.compile(r"\(\s*([a-z_ ]{3,20})\s*\)\s*")
"""A teacher's move, which MathDial's tutors chose and nobody said."""


class TurnTable(Table):
    """The turns of another table: columns dialogue, speaker and text, then those of its rows.

    The columns with the turns themselves are left out, and a label stands only at its turn.
    """

    def __init__(self, table: Table, mapping: ColumnMapping) -> None:
        self.path, self.format, self.encoding = table.path, table.format, table.encoding
        self.delimiter, self.sheets, self.sheet = table.delimiter, table.sheets, table.sheet
        self._table, self._mapping = table, mapping
        left_out = {mapping.text, "dialog_history"}
        self._kept = [name for name in table.header if name not in left_out]
        self.header = ("dialogue", "speaker", "text", *self._kept)
        self.notes = (
            *table.notes,
            f"{mapping.layout}: the turns of each row are rows of their own now, and are written "
            "so",
        )

    def rows(self) -> Iterator[Row]:
        for number, row in enumerate(self._table.rows(), 1):
            split = self._split_pmtd if self._mapping.layout == "pmtd" else self._split_mathdial
            kept = [row.values.get(name) for name in self._kept]
            label = self._mapping.label
            for turn, is_labelled in split(row):
                own = [
                    value if is_labelled or name != label else None
                    for name, value in zip(self._kept, kept, strict=True)
                ]
                cells = [str(number), turn.speaker, turn.text, *own]
                yield Row(row.line, map_cells(self.header, cells), cells)

    def write(self, path: Path, added: Sequence[str], rows: Iterable[tuple[Row, list[Any]]]) -> int:
        header = [*self.header, *added]
        return write_rows(path, self.format, header, ([*row.cells, *own] for row, own in rows))

    def place(self, line: int) -> str:
        return self._table.place(line)

    def _split_mathdial(self, row: Row) -> Iterator[tuple[Turn, bool]]:
        for part in (spell(row.values.get(self._mapping.text)) or "").split(END_OF_TURN):
            if not part.strip():
                continue
            turn = split_turn(" ".join(part.split()))
            if turn is None:
                raise FileError(
                    f"{self.place(row.line)}: a turn in {self._mapping.text} does not begin with "
                    "who says it, as `Teacher: …`"
                )
            yield turn._replace(text=_MOVE.sub("", turn.text, count=1)), True

    def _split_pmtd(self, row: Row) -> Iterator[tuple[Turn, bool]]:
        history = row.values.get("dialog_history")
        try:
            listed = json.loads(history) if isinstance(history, str) else history
            turns = [Turn(who, said) for turn in listed or () for who, said in turn.items()]
        except (TypeError, ValueError, AttributeError) as error:
            raise FileError(
                f"{self.place(row.line)}: dialog_history must be a list of turns"
            ) from error
        wanted = (spell(row.values.get(self._mapping.text)) or "").strip()
        places = [at for at, turn in enumerate(turns) if turn.text.strip() == wanted]
        middle = len(turns) // 2
        own = middle if middle in places or not places else places[0]
        for at, turn in enumerate(turns):
            yield turn, at == own


def expand_dialogues(table: Table, mapping: ColumnMapping) -> tuple[Table, ColumnMapping]:
    """The table with a row a turn and what its columns are; as it was where it has that already."""
    if mapping.layout not in ("mathdial", "pmtd"):
        return table, mapping
    label = mapping.label if mapping.layout == "pmtd" else None
    return TurnTable(table, mapping), ColumnMapping(
        "turns", "text", "speaker", "dialogue", label=label, layout=mapping.layout
    )
