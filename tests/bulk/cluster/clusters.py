"""Clusters of several nodes on this machine, and workers whose engine costs nothing but time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from bulk.job import Job
from bulk.rows.answers import Scores
from contract.prompts import Prompt
from engine.checkpoint import Checkpoint
from tests.bulk.object_store import KEYS
from tests.e2e.service_process import make_environment
from tests.service.fake_service import compute_scores
from tests.test_layout import ROOT

_TRIES = 3


class TestCluster(NamedTuple):
    """A cluster that runs."""

    __test__ = False
    address: str
    cluster: Any
    workers: list[Any]
    """Its nodes, but for the head."""

    def replace_node(self) -> None:
        """One node is gone as if its plug were pulled; another joins."""
        self.cluster.remove_node(self.workers.pop(0), allow_graceful=False)
        self.workers.append(add_node(self.cluster))


@contextmanager
def start_cluster(*, nodes: int = 2, cpus: int = 2) -> Iterator[TestCluster]:
    """A head that computes nothing, and nodes."""
    from ray.cluster_utils import Cluster

    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    # Workers get the environment of their node, not that of the driver.
    environment = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore", **KEYS}
    with patch.dict(os.environ, environment):
        cluster = Cluster()
        try:
            _add_patiently(
                cluster,
                num_cpus=0,
                include_dashboard=False,
                _system_config={
                    "metrics_report_interval_ms": 500,
                    "health_check_period_ms": 500,
                    "health_check_failure_threshold": 3,
                },
            )
            workers = [add_node(cluster, cpus) for _ in range(nodes)]
            yield TestCluster(cluster.address, cluster, workers)
        finally:
            cluster.shutdown()


def add_node(cluster: Any, cpus: int = 2) -> Any:
    return _add_patiently(cluster, num_cpus=cpus)


def _add_patiently(cluster: Any, **options: Any) -> Any:
    """A node with little memory, and few helpers: Ray gives them 15 s to begin, whatever it is
    told, and on a machine that is too busy for that nothing can be tested."""
    options |= {
        "object_store_memory": 80 * 2**20, "include_log_monitor": False, "no_monitor": True,
    }  # fmt: skip
    for _ in range(_TRIES):
        try:
            return cluster.add_node(**options)
        except Exception as error:  # Ray's own has no type
            reason = error
    pytest.skip(f"no node of Ray has begun within its 15 s, {_TRIES} times: {reason}")


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    """`ncal label … --ray …`, in a process of its own as ever: Ray Data keeps in a process what
    belongs to its first cluster."""
    return subprocess.run(
        [sys.executable, "-m", "bulk", *map(str, words)],
        cwd=ROOT, env=make_environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


class SlowScorer:
    """Takes a moment for a batch and says which process it is in."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._seconds = seconds
        (folder / "workers" / str(os.getpid())).touch()

    def submit(self, prompts: Sequence[Prompt]) -> Future[Scores]:
        time.sleep(self._seconds)
        future: Future[Scores] = Future()
        future.set_result([compute_scores(prompt.token_ids, 15) for prompt in prompts])
        return future


def make_slow_scorer(job: Job, checkpoint: Checkpoint) -> SlowScorer:
    """In a worker: `settings.json` beside the input says how slow."""
    folder = Path(job.input).parent
    seconds = json.loads((folder / "settings.json").read_text())["seconds"]
    return SlowScorer(folder, seconds)


def find_workers(folder: Path) -> list[int]:
    """Processes that have begun to label and still live."""
    found = [int(path.name) for path in (folder / "workers").iterdir()]
    return [each for each in found if Path(f"/proc/{each}").exists()]
