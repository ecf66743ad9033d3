"""A cluster of Ray for the tests of a file: a head that computes nothing and two nodes of two cores
each, all of them processes of this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.cluster.clusters import TestCluster, start_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    pytest.importorskip("ray", reason="Ray is not installed (make setup EXTRA=dev)")
    with start_cluster() as started:
        yield started


@pytest.fixture
def joined(cluster: TestCluster) -> Iterator[Any]:
    """This process is a driver of the cluster."""
    from bulk.cluster.connection import connect

    with connect(cluster.address):
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workers").mkdir()
    return tmp_path
