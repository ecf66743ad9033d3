"""Files that need no options, several at once, and what is written where."""

import json
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from contract.labels import IRF
from tests.contract.examples import make_manifest, make_task
from tests.labelling.runs import label, read_csv, served, write_csv
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

TALK = [
    ["", "TimeStamp", "Turn", "Speaker", "Sentence", "Teacher Tag", "Student Tag"],
    [0, "00:00:01", 1, "T", "八分之六怎么约分？", "x", None],
    [1, "00:00:05", 2, "Maya", "等于四分之三。", None, None],
    [2, "00:00:09", 3, "T", "没错，很好。", None, "y"],
]


def save_workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    book = Workbook()
    assert book.active is not None
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


async def test_a_talkmoves_workbook_needs_no_columns_named(tmp_path: Path) -> None:
    path = save_workbook(tmp_path / "talk.xlsx", {"Notes": [["x"], [1]], "Lesson": TALK})
    async with served() as (service, url):
        options = ("--sheet", "Lesson", "--prior", "uniform")
        assert await label(path, "--url", url, *options) == 0
        turns = [
            {"speaker": "teacher" if row[3] == "T" else "student", "text": row[4]}
            for row in TALK[1:]
        ]
        answer = (await service.client.post("/classify/dialogue", json={"turns": turns})).json()
    book = load_workbook(tmp_path / "talk.labelled.xlsx")
    assert book.sheetnames == ["Notes", "Lesson"]
    rows = [list(row) for row in book["Lesson"].iter_rows(values_only=True)]
    assert rows[0][7:9] == ["ncal_label", "ncal_confidence"]
    assert [row[7] for row in rows[1:]] == [turn["prediction"]["label"] for turn in answer["turns"]]
    assert [row[:7] for row in rows[1:]] == TALK[1:]
    assert [row[8] for row in rows[1:]] == pytest.approx(
        [turn["prediction"]["confidence"] for turn in answer["turns"]], abs=1e-6
    )


async def test_several_files_and_a_folder_are_labelled_at_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    write_csv(tmp_path / "in/a.csv", "dialogue,speaker,text", ("1", "T", "一？"), ("1", "S", "二"))
    (tmp_path / "in/b.txt").write_text("师：三加四？\n小明：七。\n", encoding="utf-8")
    (tmp_path / "in/notes.md").write_text("no table")
    dialogue = "Teacher: (probing)Why?|EOM|Ana: 12|EOM|Teacher: Good."
    more = write_csv(tmp_path / "math.csv", "qid,conversation", ("7", dialogue))
    structure = tmp_path / "structure.jsonl"
    async with served() as (_, url):
        arguments = (tmp_path / "in", more, "--output", tmp_path / "out", "--structure", structure)
        assert await label(*arguments, "--url", url) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.labelled.csv", "b.labelled.csv", "math.labelled.csv",
    ]  # fmt: skip
    assert [row["text"] for row in read_csv(tmp_path / "out/a.labelled.csv")] == ["一？", "二"]
    rows = read_csv(tmp_path / "out/math.labelled.csv", restval=None)
    assert [row["speaker"] for row in rows] == ["Teacher", "Ana", "Teacher"]
    assert all(row["ncal_label"] for row in rows)
    lines = [json.loads(line) for line in structure.read_text(encoding="utf-8").splitlines()]
    assert [(Path(line["file"]).name, line["turns"]) for line in lines] == [
        ("a.csv", 2), ("b.txt", 2), ("math.csv", 3),
    ]  # fmt: skip


async def test_structures_follow_the_moves_that_the_label_set_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here what is a question in IRF is the answer to it."""
    moves = {"response": "initiation", "initiation": "response", "feedback": "feedback"}
    turned = IRF.model_copy(
        update={"task": "turned", "moves": moves, "question_labels": ("response",)}
    )
    plain = IRF.model_copy(
        update={"task": "plain", "labels": IRF.labels[1:], "moves": {}, "question_labels": ()}
    )
    tasks = [make_task(turned), make_task(plain, 8)]
    rows = [("T", "一？"), ("S", "二"), ("T", "对，三加四呢？"), ("S", "七，对吗？"), ("T", "好")]
    path = write_csv(tmp_path / "a.csv", "speaker,text", *rows)
    structure = tmp_path / "structure.jsonl"
    async with run_fake_service(make_manifest(tasks=tasks)) as service, serve(service.app) as host:
        options = ("--url", f"http://{host}", "--structure", structure, "--prior", "uniform")
        assert await label(path, "--task", "turned", *options) == 0
        speakers = {"T": "teacher", "S": "student"}
        turns = [{"speaker": speakers[who], "text": text} for who, text in rows]
        url = "/classify/dialogue?task=turned"
        expected = (await service.client.post(url, json={"turns": turns})).json()
        assert await label(path, "--task", "plain", "--overwrite", *options) == 2
    line = json.loads(structure.read_text(encoding="utf-8"))
    assert line["structure"] == expected["structure"] is not None
    labels = [row["ncal_label"] for row in read_csv(tmp_path / "a.labelled.csv")]
    asked = sum(each.startswith("R-") for each in labels)
    assert line["structure"]["question_share"] == asked / 5
    assert "the label set of plain names no moves" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "suffix", "expected"),
    [("jsonl", ".jsonl", '"text": "=1+1"'), ("csv", ".csv", "'=1+1"), ("xlsx", ".xlsx", "PK")],
)
async def test_another_format_can_be_asked_for(
    tmp_path: Path, format: str, suffix: str, expected: str
) -> None:
    path = save_workbook(tmp_path / "a.xlsx", {"S": [["text"], ["x"]]})
    book = load_workbook(path)
    book["S"]["A2"] = "=1+1"
    book["S"]["A2"].data_type = "s"
    book.save(path)
    async with served() as (_, url):
        assert await label(path, "--url", url, "--format", format) == 0
    assert expected in (tmp_path / f"a.labelled{suffix}").read_bytes().decode("latin-1")


async def test_line_breaks_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\r\n一加一\r\n".encode("gb18030"))
    async with served() as (_, url):
        assert await label(path, "--url", url) == 0
    written = (tmp_path / "a.labelled.csv").read_bytes()
    assert written.startswith("text,ncal_label".encode("gb18030"))
    assert written.count(b"\n") == written.count(b"\r\n") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "x.jsonl", "--structure", "x.jsonl"], "x.jsonl: would be written twice"),
        (["--structure", "a.csv"], "a.csv: is the file that is read"),
        (["--review", "review.doc"], "review.doc: .doc is none of"),
        (["b.csv", "--output", "x.csv"], "--output x.csv: several files need a folder"),
        (["--sheet", "S"], "a.csv: has no sheets"),
        (["empty"], "empty: no file in it is one of"),
    ],
)
async def test_what_cannot_be_written_so_is_said_before_anything_is_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(Path("a.csv"), "speaker,text", ("T", "一"))
    write_csv(Path("b.csv"), "speaker,text", ("T", "一"))
    Path("empty").mkdir()
    before = sorted(tmp_path.iterdir())
    assert await label("a.csv", *options) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
