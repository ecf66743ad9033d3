"""Dialogues whose rows lie in different files are read whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from bulk.job import load_labelling
from bulk.rows.answers import label_batch
from bulk.rows.columns import Columns
from bulk.scorer import EngineScorer
from engine.choice import choose_engine
from tables.speakers import SPEAKERS
from tests.bulk.cluster.clusters import TestCluster, run_command
from tests.bulk.fake_labelling import make_batch
from tests.bulk.jobs import CHECKPOINT, OPTIONS, make_job, read_output

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(240)]
LESSONS, TURNS, FILES = 6, 7, 3


def make_turn(lesson: int, turn: int) -> dict[str, Any]:
    said = (f"第{lesson}课第{turn}问：{turn + 2}加{lesson}等于几？", f"等于{turn + 2 + lesson}。")
    who = ("teacher", "student")[turn % 2]
    return {"session_id": f"lesson {lesson}", "role": who, "content": said[turn % 2],
            "sequence_id": turn}  # fmt: skip


def test_turns_find_their_neighbours_in_other_files(folder: Path, cluster: TestCluster) -> None:
    rows = [make_turn(lesson, turn) for turn in range(TURNS) for lesson in range(LESSONS)]
    (folder / "in").mkdir()
    for file in range(FILES):
        own = rows[file::FILES]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own)
        (folder / f"in/{file}.jsonl").write_text(text, encoding="utf-8")
    (folder / "in/bad.jsonl").write_text("{", encoding="utf-8")
    words = [folder / "in", "--output", folder / "out", "--ray", cluster.address, "--cpus", 1]
    done = run_command(*words, "--engines", 2)
    assert done.returncode == 1, done.stderr
    assert "label: bad.jsonl: cannot be read as JSON lines" in done.stderr
    labelled = {(row["session_id"], row["sequence_id"]): row for row in read_output(folder)}
    assert len(labelled) == len(read_output(folder)) == len(rows)
    assert {row["ncal_file"] for row in labelled.values()} == {f"{n}.jsonl" for n in range(FILES)}
    first = labelled["lesson 0", 0]
    assert (first["ncal_file"], first["ncal_row"]) == ("0.jsonl", 0)
    assert not (folder / "out/_dialogues").exists()

    columns = Columns("content", "role", "session_id", "sequence_id")
    _, how = load_labelling(make_job(folder, task="irf", columns=columns, speakers=SPEAKERS))
    scorer = EngineScorer(CHECKPOINT, choose_engine("openvino"), OPTIONS)
    whole = make_batch(**{name: [row[name] for row in rows] for name in rows[0]})
    for expected in label_batch(whole, how, scorer.score).to_pylist():
        row = labelled[expected["session_id"], expected["sequence_id"]]
        for label in how.task.label_set.ids:
            name = f"ncal_p_{label}"
            # What is computed together decides the last bits; a wrong neighbour far more.
            assert row[name] == pytest.approx(expected[name], abs=1e-4)
    scorer.close()
    assert run_command(*words, "--engines", 2).returncode == 1
    assert len(read_output(folder)) == len(rows)
