"""A token that lies in the home is not taken for that of the cluster; one that is asked for is
found, or named in one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed (make setup EXTRA=dev)")
from bulk.cluster.access import join, keep_access
from tables.errors import FileError
from tests.bulk.cluster.clusters import TestCluster, run_command
from tests.bulk.jobs import read_output, write_problems
from tests.deploy.live_stack import find_free_port
from tests.e2e.service_process import make_environment, wait_until

_CLUSTER = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(240)]
_TOKEN = "0123456789abcdef" * 4


def test_what_is_said_of_tokens_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of this process may join another cluster."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "before")
    with keep_access():
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="meanwhile")
    assert "RAY_AUTH_MODE" not in os.environ
    assert os.environ["RAY_AUTH_TOKEN"] == "before"


def test_rays_client_is_refused_with_the_remedy() -> None:
    with pytest.raises(FileError, match="say --ray auto on a node of the cluster"):
        join("ray://127.0.0.1:10001", {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of whoever runs the command; nothing is said of tokens but what a test says."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def write_token(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray/auth_token").write_text(_TOKEN)


@pytest.mark.usefixtures("cluster")
class TestWithoutTokens:
    """A cluster that asks for none, as `ray start` makes it where the home has none."""

    pytestmark = _CLUSTER

    def test_a_token_of_another_cluster_stops_nobody(self, folder: Path, home: Path) -> None:
        """The nodes took such a driver for dead, as it refused them."""
        write_token(home)
        texts = write_problems(folder, files=1, rows=20)
        words = [folder / "in", "--output", folder / "out", "--ray", "auto", "--cpus", 1]
        done = run_command(*words)
        assert done.returncode == 0, done.stderr
        assert sorted(row["text"] for row in read_output(folder)) == sorted(texts)

    def test_who_asks_for_tokens_where_there_are_none_is_told(
        self, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_token(home)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        write_problems(folder, files=1, rows=2)
        words = [folder / "in", "--output", folder / "out", "--ray", "auto"]
        done = run_command(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("label: --ray auto: the cluster asks for no token")
        assert "RAY_AUTH_MODE=disabled" in done.stderr

    def test_what_breaks_off_is_one_line(self, cluster: TestCluster) -> None:
        """As when a part of Ray's own dies."""
        import ray

        from bulk.cluster.connection import connect

        with (
            pytest.raises(FileError, match=r"broke the work off \(WorkerCrashedError\)"),
            connect(cluster.address),
        ):
            ray.get(ray.remote(max_retries=0, num_cpus=1)(lambda: os._exit(1)).remote())


class TestWithTokens:
    """A cluster that asks for a token, without a node for an engine: who joined it is told so.

    It is a process of its own, as `ray start` makes it where the home has a token.
    """

    pytestmark = _CLUSTER

    @pytest.fixture
    def address(self, home: Path, tmp_path: Path) -> Iterator[str]:
        write_token(home)
        address, log = f"127.0.0.1:{find_free_port()}", tmp_path / "head.log"
        words = ["--head", "--block", f"--port={address.rpartition(':')[2]}", "--num-cpus=0",
                 "--include-dashboard=false", f"--object-store-memory={80 * 2**20}"]  # fmt: skip
        with log.open("wb") as file:
            head = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
                stdout=file, stderr=file, env=make_environment(),
            )  # fmt: skip
        try:
            if not wait_until(lambda: b"Ray runtime started" in log.read_bytes(), 60):
                pytest.skip(f"no head of Ray has begun: {log.read_text()[-300:]}")
            yield address
        finally:
            head.terminate()
            head.wait(60)

    def test_it_is_joined_or_the_token_is_asked_for(
        self, address: str, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_problems(folder, files=1, rows=2)
        words = [folder / "in", "--output", folder / "out", "--ray"]
        named = run_command(*words, address)
        assert named.returncode == 2
        assert "the cluster asks for a token; say RAY_AUTH_MODE=token" in named.stderr
        assert "no node has 2 cores for an engine" in run_command(*words, "auto").stderr
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert "no node has 2 cores for an engine" in run_command(*words, address).stderr


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(240)
def test_a_cluster_of_ones_own_leaves_no_token_behind(folder: Path, home: Path) -> None:
    """Ray would: the next command would take it for that of another cluster."""
    texts = write_problems(folder, files=1, rows=20)
    done = run_command(folder / "in", "--output", folder / "out", "--ray", "local", "--cpus", 1)
    assert done.returncode == 0, done.stderr
    assert len(read_output(folder)) == len(texts)
    assert not (home / ".ray").exists()
