"""`ncal audit` on a table: what is listed, in which order, and what is refused."""

import csv
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from tests.training.audit.rows import make_rows, write_table
from training.__main__ import main
from training.audit.review_file import HEADER


def read_review(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_wrong_labels_and_rows_that_disagree_are_listed_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(60)
    following = {"question": "praise", "praise": "order", "order": "question"}
    wrong = {place: following[rows[place][1]] for place in (3, 50, 111)}
    for place, label in wrong.items():
        rows[place] = rows[place][0], label
    twin = rows[20][0], following[rows[20][1]]
    table = write_table(tmp_path / "talk.csv", [*rows, twin, ("=SUM(A1) lone words", "other")])
    assert main(["audit", str(table)]) == 0
    review = read_review(tmp_path / "talk.audit.csv")
    assert list(review[0]) == list(HEADER)
    assert {int(row["row"]) for row in review[:2]} == {22, len(rows) + 2}
    for row in review[:2]:
        assert "the same text is" in row["why"] and row["your_label"] == ""
    assert {int(row["row"]) - 2 for row in review[2:5]} == set(wrong)
    for row in review[2:5]:
        assert row["given_label"] == wrong[int(row["row"]) - 2]
        assert row["suggested_label"] != row["given_label"]
        assert float(row["how_sure"]) > 0.5 and row["file"] == "talk.csv"
    assert review[-1]["text"].startswith("'=SUM") and "no other text" in review[-1]["why"]
    assert [int(row["rank"]) for row in review] == list(range(1, len(review) + 1))
    said = capsys.readouterr().out
    assert "estimate of wrong labels" in said and "the same text do not share" in said
    assert main(["audit", str(table)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_workbook_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    rows = make_rows(25)
    rows[0] = f"=2+5 {rows[0][0]}", "order" if rows[0][1] != "order" else "praise"
    table = write_table(tmp_path / "talk.csv", rows)
    output = tmp_path / "review.xlsx"
    assert main(["audit", str(table), "--output", str(output)]) == 0
    sheet: Any = load_workbook(output).active
    cells = list(sheet.iter_rows())
    assert tuple(cell.value for cell in cells[0]) == HEADER
    texts = [row[HEADER.index("text")] for row in cells[1:]]
    assert any(str(cell.value).lstrip("'").startswith("=2+5") for cell in texts)
    assert all(cell.data_type == "s" for cell in texts)


def test_turns_stand_with_what_was_said_around_them(tmp_path: Path) -> None:
    path = tmp_path / "lesson.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dialogue", "speaker", "text", "label"])
        for place, (text, label) in enumerate(make_rows(30)):
            if place == 8:
                label = "order" if label != "order" else "praise"
            writer.writerow([place // 3, "T" if place % 3 else "Ana", text, label])
    assert main(["audit", str(path)]) == 0
    row = next(row for row in read_review(tmp_path / "lesson.audit.csv") if row["row"] == "10")
    assert row["speaker"] == "teacher" and row["before"] and not row["after"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("one", "a"), ("two", "a")], "one label only"),
        ([("one", "a"), ("two", "b"), ("three", "c")], "--label"),
        ([("one", "a"), ("two", "b"), ("three", "a"), ("four", "b")], "fewer than 5 folds"),
        ([("one", ""), ("two", "b")], ":2: has no label"),
    ],
)
def test_a_table_that_cannot_be_audited_is_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[tuple[str, str]],
    reason: str,
) -> None:
    table = write_table(tmp_path / "few.csv", rows)
    assert main(["audit", str(table)]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1 and "few.csv" in said
    assert not (tmp_path / "few.audit.csv").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "one of them"),
        (["a.csv", "--recipe", "r.yaml"], "one of them"),
        (["a.csv", "--plant", "0.7"], "--plant 0.7"),
        (["a.csv", "--plant", "0.1", "--seeds", "x"], "--seeds x"),
        (["--work", "w", "--answers", "ncal_"], "--answers"),
        (["a.csv", "evaluation.seed=1"], "name --recipe"),
        (["a.csv", "--output", "a.doc"], "a.doc"),
        (["--work", "nowhere"], "holds no training"),
        (["--work", "nowhere", "--plant", "0.1"], "give a table"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert main(["audit", *words]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1
