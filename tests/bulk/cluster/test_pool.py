"""The pool on a cluster of several nodes: what dies is mended, and every row is there once."""

import importlib.util
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from bulk.fragments import list_input, plan_parts
from bulk.job import Job, load_labelling
from bulk.rows.answers import label_batch
from bulk.scorer import EngineScorer
from bulk.storage import Place
from engine.choice import choose_engine
from tests.bulk.cluster.clusters import TestCluster, find_workers, make_slow_scorer, run_command
from tests.bulk.fake_labelling import make_batch
from tests.bulk.jobs import CHECKPOINT, OPTIONS, make_job, read_output, write_problems
from tests.e2e.service_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(240)]


class Run(threading.Thread):
    """Labels all that is left of a job, in the background."""

    def __init__(self, job: Job, folder: Path, seconds: float) -> None:
        super().__init__(daemon=True)
        from bulk.cluster.pool import Outcome

        (folder / "settings.json").write_text(json.dumps({"seconds": seconds}))
        self._job = job
        self.outcomes: list[Outcome] = []
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        from bulk.cluster.connection import Share
        from bulk.cluster.pool import label_parts

        source = Place(self._job.input)
        files = [file.name for file in list_input(source)]
        parts = plan_parts(source, files, self._job.part_rows).parts
        try:
            share = Share(1, 0.0)
            for outcome in label_parts(
                self._job, parts, share, engines=4, room=4, make_scorer=make_slow_scorer
            ):
                self.outcomes.append(outcome)
        except BaseException as error:
            self.failure = error

    def finish(self) -> None:
        self.join(180)
        assert not self.is_alive()
        if self.failure:
            raise self.failure


def count_written(folder: Path) -> int:
    return sum(not path.name.startswith(".") for path in (folder / "out").rglob("*.parquet"))


def test_a_killed_worker_and_a_lost_node_cost_no_row(folder: Path, joined: TestCluster) -> None:
    texts = write_problems(folder, files=24, rows=100)
    run = Run(make_job(folder), folder, seconds=0.4)
    assert wait_until(lambda: count_written(folder) >= 4, 60)
    os.kill(find_workers(folder)[0], signal.SIGKILL)
    assert wait_until(lambda: count_written(folder) >= 12, 60)
    joined.replace_node()
    run.finish()
    assert [outcome.error for outcome in run.outcomes] == [None] * 48
    rows = read_output(folder)
    assert sorted(row["text"] for row in rows) == sorted(texts)
    assert not [row for row in rows if row["ncal_error"]]
    assert len(list((folder / "workers").iterdir())) > 2


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_labels_as_the_embedded_engine_does(folder: Path, cluster: TestCluster) -> None:
    """Its process finds our kernels though its parent is a worker of Ray and no program of ours."""
    texts = write_problems(folder, files=1, rows=30)
    words = [folder / "in", "--output", folder / "out", "--ray", cluster.address]
    done = run_command(*words, "--engine", "vllm", "--part-rows", 20)
    assert done.returncode == 0, done.stderr
    rows = read_output(folder)
    _, how = load_labelling(make_job(folder))
    scorer = EngineScorer(CHECKPOINT, choose_engine("openvino"), OPTIONS)
    expected = label_batch(make_batch(text=texts), how, scorer.score).to_pylist()
    scorer.close()
    for row, other in zip(rows, expected, strict=True):
        assert (row["text"], row["ncal_label"]) == (other["text"], other["ncal_label"])
        for label in how.task.label_set.ids:
            assert row[f"ncal_p_{label}"] == pytest.approx(other[f"ncal_p_{label}"], abs=1e-4)
