"""The file for reviewers: doubtful rows, least sure first, and an unbiased sample of the rest."""

from collections import Counter
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from contract.prompts import ContextWindow
from labelling.client import ServedTask
from labelling.items import Columns, Reading
from labelling.job import Job
from labelling.journal import Journal
from labelling.mixes import find_mix
from labelling.results.output import Labelled
from labelling.results.review import HEADER, write_review
from tables.files import open_table
from tests.labelling.runs import label, read_csv, served, write_csv

TURNS = [(str(n // 4), "T" if n % 2 else "Maya", f"=第{n}句话。") for n in range(24)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    sheet: Any = load_workbook(path).active
    rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    assert tuple(rows[0]) == HEADER
    return [dict(zip(HEADER, row, strict=True)) for row in rows[1:]]


async def test_reviewers_get_what_is_doubtful_and_a_sample(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "talk.csv", "dialogue,speaker,text", *TURNS)
    async with served() as (_, url):
        reviews = []
        for seed in (1, 1, 2):
            review = tmp_path / "review.xlsx"
            options = ("--review", review, "--review-sample", "3", "--seed", seed, "--overwrite")
            assert await label(path, "--url", url, *options) == 0
            reviews.append(read_rows(review))
    labelled = read_csv(tmp_path / "talk.labelled.csv")
    doubtful = {row["text"] for row in labelled if row["ncal_needs_review"] == "true"}
    first = [row for row in reviews[0] if row["why"] == "needs review"]
    sample = [row for row in reviews[0] if row["why"] == "random sample"]
    assert {row["text"] for row in first} == doubtful
    confidences = [row["confidence"] for row in first]
    assert confidences == sorted(confidences)
    assert len(sample) == min(3, len(TURNS) - len(doubtful))
    assert not doubtful & {row["text"] for row in sample}
    assert reviews[0] == reviews[1]
    for row in reviews[0]:
        place = next(n for n, turn in enumerate(TURNS) if turn[2] == row["text"])
        dialogue = [text for number, _, text in TURNS if number == TURNS[place][0]]
        own = dialogue.index(row["text"])
        assert row["before"] == (dialogue[own - 1] if own else None)
        assert row["after"] == (dialogue[own + 1] if own + 1 < len(dialogue) else None)
        assert row["row"] == place + 2 and row["your_label"] is None


async def test_rows_without_a_label_come_first(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "text", ("一加一",), ("二" * 30,))
    async with served(max_text_characters=20) as (_, url):
        assert await label(path, "--url", url, "--review", tmp_path / "r.csv") == 0
    content = (tmp_path / "r.csv").read_text(encoding="utf-8-sig").splitlines()
    assert content[0] == ",".join(HEADER)
    assert "no label" in content[1]


def test_the_sample_is_drawn_from_all_that_need_no_review(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "text", *[(f"第{n}题",) for n in range(200)])
    table = open_table(path)
    reading = Reading("problem", Columns(), {}, ContextWindow(1, 1), "retrospective")
    task = ServedTask(
        "timss",
        "problem",
        reading.window,
        {"recall": "knowing", "infer": "reasoning"},
        (0.5, 0.5),
        {},
        None,
        "m 0",
    )
    job = Job(table, reading, task, 200)
    drawn: Counter[str] = Counter()
    with Journal.open(tmp_path / "j", job.describe(), restart=False) as journal:
        journal.add(
            [
                {
                    "probabilities": {"recall": 0.5 + n / 400, "infer": 0.5 - n / 400},
                    "prediction_set": ["recall"] if n % 10 else ["recall", "infer"],
                    "was_cut": False,
                }
                for n in reversed(range(200))
            ]
        )
        labelled = Labelled(job, journal, find_mix(task, "uniform", journal))
        for seed in range(40):
            output = tmp_path / "review.csv"
            assert write_review([labelled], output, sample=30, seed=seed) == (20, 30)
            rows = read_csv(output, restkey=None)
            assert [float(row["confidence"]) for row in rows[:20]] == [
                0.5 + n / 40 for n in range(20)
            ]
            sample = [row["text"] for row in rows[20:]]
            assert len(set(sample)) == 30
            drawn.update(sample)
    assert len(drawn) > 175  # of 180; each is missed by 40 draws with a chance of 0.0007
