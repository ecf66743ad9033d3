"""What `ncal label` wrote beside the rows, read as a judgement of their labels."""

from collections.abc import Mapping

import numpy as np

from contract.labels import BUILT_IN
from tables.table import spell
from training.audit.judgement import Judgement
from training.audit.rows import Rows
from training.data.own_tables import OwnTable
from training.errors import BadInput


def judge_by_answers(own: OwnTable, rows: Rows, prefix: str) -> tuple[Rows, Judgement]:
    """Read what `ncal label` wrote beside the rows; the labels become those of its model.

    That the model was not trained on these labels cannot be seen here, and is said. BadInput if
    there are no such columns, or a label is none of the model's.
    """
    start = f"{prefix}p_"
    ids = [name.removeprefix(start) for name in own.table.header if name.startswith(start)]
    if len(ids) < 2:
        raise BadInput(
            f"{own.table.path}: has no columns {start}…; label the file with `ncal label` first, "
            "or name its prefix with --answers"
        )
    spellings = _list_spellings(ids)
    examples = []
    for example in rows.examples:
        name = rows.names[example.label]
        if name.casefold() not in spellings:
            raise BadInput(
                f"{own.table.place(example.line)}: its label is none of {', '.join(ids)}; the "
                "model knows no other"
            )
        examples.append(example._replace(label=spellings[name.casefold()]))
    cells = {row.line: row.values for row in own.rows}
    values = [
        [_read_number(cells[example.line].get(start + each)) for each in ids]
        for example in examples
    ]
    probabilities = np.array(values)
    return rows._replace(names=ids, examples=examples), Judgement(
        np.nan_to_num(probabilities),
        np.flatnonzero(np.isfinite(probabilities).all(axis=1)),
        f"the answers {prefix}",
        "the answers are evidence only if their model was not trained on these labels: one that "
        "was has learned the wrong ones too, and this file cannot tell",
        "the row has no answer",
    )


def _list_spellings(ids: list[str]) -> Mapping[str, int]:
    """How people write the labels, in lower case → place among the ids."""
    spellings = {each.casefold(): place for place, each in enumerate(ids)}
    for label_set in BUILT_IN.values():
        if list(label_set.ids) == ids:
            for place, label in enumerate(label_set.labels):
                for name in (label.data_label, label.name_en, label.name_zh):
                    spellings.setdefault(name.casefold(), place)
    return spellings


def _read_number(value: object) -> float:
    """Not a number where the row has no answer."""
    try:
        return float(spell(value) or "nan")
    except ValueError:
        return float("nan")
