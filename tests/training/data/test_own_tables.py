"""Tables of any form as labelled examples."""

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from contract.inputs import DialogueTurn
from contract.labels import BUILT_IN
from tests.training.tiny import write_lines
from training.data.examples import read_examples
from training.data.formats import read_records
from training.errors import BadInput
from training.recipe.recipe import LabelledFile

ROWS = [("1+1=？", "回忆"), ("解方程 x+2=5", "过程实施")]
TURNS = [
    ("Ms Lee", "懂了吗", "I-Q"),
    ("Tom", "对。", "R-SR"),
    ("Ms Lee", "好", ""),
]


def name_source(path: Path, task: str = "timss", **columns: str) -> LabelledFile:
    fields: Any = {"path": path, "format": "table", "task": task, "columns": columns}
    return LabelledFile.model_validate(fields)


def write_workbook(path: Path, rows: list[tuple[Any, ...]]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def test_every_form_says_the_same(tmp_path: Path) -> None:
    header = ("题目", "标签")
    fields = [dict(zip(header, row, strict=True)) for row in ROWS]
    write_lines(tmp_path / "a.jsonl", fields)
    (tmp_path / "a.json").write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
    write_workbook(tmp_path / "a.xlsx", [header, *ROWS])
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        lines = "\n".join(delimiter.join(row) for row in (header, *ROWS))
        (tmp_path / f"a{suffix}").write_text(lines, encoding="gb18030")
    for suffix in (".jsonl", ".json", ".xlsx", ".csv", ".tsv"):
        source = name_source(tmp_path / f"a{suffix}")
        found = [(r.item.text, r.data_label) for r in read_records(source, "problem")]
        assert found == ROWS, suffix


def test_turns_are_placed_among_their_neighbours(tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", [("who", "said", "move"), *TURNS])
    source = name_source(tmp_path / "a.xlsx", "irf", text="said", speaker="who", label="move")
    first, second = read_records(source, "dialogue-turn")
    assert isinstance(second.item, DialogueTurn)
    assert (second.item.speaker, second.item.text, second.data_label) == ("student", "对。", "R-SR")
    assert [turn.text for turn in second.item.previous] == ["懂了吗"]
    assert [(t.speaker, t.text) for t in second.item.following] == [("teacher", "好")]
    assert first.place.endswith("2")


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        ([("text", "answer"), ("a", "b")], {}, "no column is called label.*text, answer"),
        ([("text", "label"), ("a", "")], {}, "a.xlsx.*2.*has no label"),
        ([("text", "label"), ("", "b")], {}, "a.xlsx.*2.*text"),
        ([("text", "label"), ("a", "b")], {"text": "words"}, "no column words; there are: text"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, rows: list[tuple[str, ...]], columns: dict[str, str], reason: str
) -> None:
    write_workbook(tmp_path / "a.xlsx", rows)
    with pytest.raises(BadInput, match=reason):
        list(read_records(name_source(tmp_path / "a.xlsx", **columns), "problem"))


def test_a_speaker_who_cannot_be_told_is_named(tmp_path: Path) -> None:
    rows = [("speaker", "text", "label"), ("Ann", "a", "U"), ("Ben", "b", "U")]
    write_workbook(tmp_path / "a.xlsx", rows)
    with pytest.raises(BadInput, match=r"2.*teacher or student"):
        list(read_records(name_source(tmp_path / "a.xlsx", "irf"), "dialogue-turn"))


def test_a_label_that_the_set_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n1+1,回忆\n2+2,other\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.csv:3: unknown label 'other'"):
        read_examples([name_source(tmp_path / "a.csv")], BUILT_IN, folds=1)


def test_columns_are_for_tables_alone(tmp_path: Path) -> None:
    fields: Any = {"path": tmp_path, "format": "csv", "task": "irf", "columns": {"text": "a"}}
    with pytest.raises(ValueError, match="take `table`"):
        LabelledFile.model_validate(fields)
