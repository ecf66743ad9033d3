"""The file of what to label next, from the command to its rows."""

from pathlib import Path

import pytest

from labelling.results.next_labels import RANK_HEADER
from tests.labelling.runs import label, read_csv, served, write_csv

ROWS = [
    (f"第{n}题：{'甲乙丙丁戊己庚辛'[n % 8]}有{n * 7}个", "recall" if n < 20 else "")
    for n in range(60)
]


async def test_rows_that_nobody_labelled_are_ranked(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "pool.csv", "text,label", *ROWS)
    ranked = tmp_path / "next.csv"
    async with served() as (_, url):
        options = ("--url", url, "--rank", ranked, "--rank-rows", "10", "--compare", "label")
        assert await label(path, *options) == 0
        rows = read_csv(ranked)
        assert await label(path, *options, "--overwrite") == 0
    assert read_csv(ranked) == rows
    assert tuple(rows[0]) == RANK_HEADER
    assert [int(row["rank"]) for row in rows] == list(range(1, 11))
    places = [int(row["row"]) - 2 for row in rows]
    assert len(set(places)) == 10 and min(places) >= 20
    for row, place in zip(rows, places, strict=True):
        assert row["text"] == ROWS[place][0] and " or " in row["why"] and not row["your_label"]


async def test_files_of_two_tasks_are_not_ranked_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = write_csv(tmp_path / "a.csv", "text", ("一加一",))
    turns = write_csv(tmp_path / "b.csv", "speaker,text", ("T", "为什么？"))
    async with served() as (_, url):
        options = ("--url", url, "--rank", tmp_path / "r.csv", "--output", tmp_path)
        assert await label(problems, turns, *options) == 2
    assert "--rank" in capsys.readouterr().err and not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize("wrong", ["next.doc", "pool.csv"])
async def test_where_it_cannot_be_written_is_told_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    path = write_csv(tmp_path / "pool.csv", "text", ("一加一",))
    async with served() as (_, url):
        assert await label(path, "--url", url, "--rank", tmp_path / wrong) == 2
    assert wrong in capsys.readouterr().err
