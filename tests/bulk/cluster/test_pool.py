"""The pool on a cluster of several nodes: what dies is mended, and every row is there once."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from bulk.fragments import list_input, plan_parts
from bulk.job import Job
from bulk.storage import Place
from tests.bulk.cluster.clusters import TestCluster, find_workers, make_slow_scorer
from tests.bulk.jobs import make_job, read_output, write_problems
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
