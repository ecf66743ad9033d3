"""The journal: one run at a time, and an answer for each row and no other."""

import json
from pathlib import Path

import pytest

from labelling.journal import Journal
from tables.errors import FileError

JOB = {"file": "f", "task": "t"}


def open_journal(path: Path, *, restart: bool = False) -> Journal:
    return Journal.open(path, JOB, restart=restart)


def test_answers_are_kept_with_the_number_of_their_row(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    with open_journal(path) as journal:
        journal.add([{"label": "a"}, {"error": "b"}])
    with open_journal(path) as journal:
        assert journal.done == 2
        journal.add([{"label": "c"}])
        assert list(journal.read()) == [{"label": "a"}, {"error": "b"}, {"label": "c"}]
    lines = [json.loads(line) for line in path.read_bytes().splitlines()[1:]]
    assert [line["row"] for line in lines] == [0, 1, 2]


@pytest.mark.parametrize("restart", [False, True])
def test_two_runs_never_share_one(tmp_path: Path, restart: bool) -> None:
    path = tmp_path / "a.partial"
    with open_journal(path) as journal:
        journal.add([{"label": "a"}])
        with pytest.raises(FileError, match="another run labels this file"):
            open_journal(path, restart=restart)
        journal.add([{"label": "b"}])
        assert len(list(journal.read())) == 2
        journal.remove()
    with open_journal(path) as journal:
        assert journal.done == 0


def test_answers_out_of_order_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    with open_journal(path) as journal:
        journal.add([{"label": "a"}, {"label": "b"}])
    head, one, two = path.read_bytes().splitlines(keepends=True)
    for lines in ([head, two, one], [head, two], [head, b"{}\n"], [head, b"x\n"]):
        path.write_bytes(b"".join(lines))
        with pytest.raises(FileError, match="line 2 is not the answer to row 1; begin anew"):
            open_journal(path)
    path.write_bytes(head + one + two[:5])
    with open_journal(path) as journal:
        assert journal.done == 1
    with open_journal(path, restart=True) as journal:
        assert journal.done == 0
