"""Which column is what, from the columns of data that others publish."""

from typing import Any

import pytest

from tables.layouts import ColumnMapping, recognise_layout


@pytest.mark.parametrize(
    ("columns", "sample", "expected"),
    [
        (
            ["", "TimeStamp", "Turn", "Speaker", "Sentence", "Teacher Tag", "Student Tag"],
            [[0, None, 1, "T", "Why?", "3", None]],
            ColumnMapping("turns", "Sentence", "Speaker", order="Turn", layout="talkmoves"),
        ),
        (
            ["session_id", "role", "content", "sequence_id"],
            [["a", "tutor", "Hi", 0]],
            ColumnMapping(
                "turns", "content", "role", "session_id", "sequence_id", layout="sandpiper"
            ),
        ),
        (
            ["speaker", "dialogue", "start", "stop"],
            [["teacher", "Hello there", 0.0, 1.5]],
            ColumnMapping("turns", "dialogue", "speaker", layout="amber"),
        ),
        (
            ["speaker", "text"],
            [["multiple students", "Yes."], ["teacher", "Good."]],
            ColumnMapping("turns", "text", "speaker", layout="ncte"),
        ),
        (
            ["qid", "question", "conversation", "student_profile"],
            [[7, "A long question about many apples.", "Teacher: Why?|EOM|Steven: 12", "Grade 7"]],
            ColumnMapping("turns", "conversation", dialogue="qid", layout="mathdial"),
        ),
        (
            ["id", "question", "class"],
            [["1", "三角形的内角和是多少度？", "回忆"]],
            ColumnMapping("problems", "question", label="class", layout="tmwpl"),
        ),
        (
            ["id", "dialog_content", "class", "dialog_history"],
            [["1", "好。", "F-F", [{"teacher": "好。"}]]],
            ColumnMapping("turns", "dialog_content", label="class", layout="pmtd"),
        ),
        (
            ["dialogue", "speaker", "text", "label"],
            [["1", "teacher", "好。", "F-F"]],
            ColumnMapping("turns", "text", "speaker", "dialogue", label="label"),
        ),
        (["编号", "题目"], [["1", "一加一"]], ColumnMapping("problems", "题目")),
        (
            ["no", "aufgabe"],
            [["1", "Wie viel?"]],
            ColumnMapping("problems", "aufgabe", is_guess=True),
        ),
        (["a"], [], ColumnMapping("problems", "a", is_guess=True)),
        ([], [], ColumnMapping("problems", "", is_guess=True)),
    ],
)
def test_columns_are_recognised(
    columns: list[str], sample: list[list[Any]], expected: ColumnMapping
) -> None:
    assert recognise_layout(columns, sample) == expected
