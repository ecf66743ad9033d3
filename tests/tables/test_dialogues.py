"""Rows that hold a whole dialogue become a row a turn."""

import json
from pathlib import Path

import pytest

from tables.dialogues import expand_dialogues
from tables.errors import FileError
from tables.files import open_table
from tables.layouts import ColumnMapping, recognise_layout
from tables.table import Table


def expand(path: Path) -> tuple[Table, ColumnMapping]:
    table = open_table(path)
    mapping = recognise_layout(table.header, [row.cells for row in table.rows()])
    return expand_dialogues(table, mapping)


def test_turns_of_mathdial(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "qid,conversation\n"
        '5,"Teacher: (focus)What is\n asked?|EOM|Ana: 12 : 3|EOM|"\n6,Teacher: Hi\n'
    )
    table, mapping = expand(path)
    assert (mapping.text, mapping.speaker, mapping.dialogue) == ("text", "speaker", "dialogue")
    assert [(row.line, *row.cells) for row in table.rows()] == [
        (3, "1", "Teacher", "What is asked?", "5"),
        (3, "1", "Ana", "12 : 3", "5"),
        (4, "2", "Teacher", "Hi", "6"),
    ]
    table.write(tmp_path / "out.csv", ["label"], ((row, ["x"]) for row in table.rows()))
    written = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
    assert written.splitlines()[:2] == [
        "dialogue,speaker,text,qid,label", "1,Teacher,What is asked?,5,x",
    ]  # fmt: skip


def test_turns_of_pmtd_keep_the_label_at_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    history = [{"teacher": "几个？"}, {"student": "七。"}, {"teacher": "好。"}]
    row = {"id": "a", "dialog_content": "七。", "class": "R-SR", "dialog_history": history}
    path.write_text(json.dumps(row) + "\n")
    table, mapping = expand(path)
    assert mapping.label == "class"
    assert [(row.values["speaker"], row.values["class"]) for row in table.rows()] == [
        ("teacher", None), ("student", "R-SR"), ("teacher", None),
    ]  # fmt: skip


def test_a_turn_of_nobody_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,conversation\n1,Teacher: a|EOM|b\n")
    with pytest.raises(FileError, match=r"a.csv:2: a turn in conversation does not begin with"):
        list(expand(path)[0].rows())
    path = tmp_path / "a.jsonl"
    row = {"id": "a", "dialog_content": "七。", "class": "R-SR", "dialog_history": "七。"}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(FileError, match=r"a.jsonl:1: dialog_history must be a list of turns"):
        list(expand(path)[0].rows())
