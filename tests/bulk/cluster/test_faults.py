"""The command on a cluster of several nodes, with the real engine: killed, mended, run again."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from bulk.storage import Place
from tests.bulk.cluster.clusters import TestCluster, run_command
from tests.bulk.jobs import FINGERPRINT, read_output, write_problems
from tests.bulk.object_store import BUCKET, run_object_store
from tests.e2e.service_process import make_environment, wait_until
from tests.test_layout import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(240)]


def list_written(folder: Path) -> dict[str, int]:
    """Files of the output and when each was written."""
    found = [each for each in (folder / "out").rglob("*.parquet") if each.name[0] != "."]
    return {each.relative_to(folder / "out").as_posix(): each.stat().st_mtime_ns for each in found}


def test_a_bucket_with_a_bad_file_is_mended(folder: Path, cluster: TestCluster) -> None:
    """Also a bad row is a row with an error, and the exit code tells of the bad file."""
    good, bad = folder / "good.parquet", folder / "bad.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["一加一等于几？", " ", "二加二？"]}), good)
    bad.write_bytes(b"no parquet")
    with run_object_store() as query:
        source, target = f"s3://{BUCKET}/in{query}", f"s3://{BUCKET}/out{query}"
        for local in (good, bad):
            Place(source).put(local.name, local)
        words = [source, "--output", target, "--ray", cluster.address, "--cpus", "1"]
        first = run_command(*words)
        assert first.returncode == 1, first.stderr
        assert "label: bad.parquet: cannot be read as Parquet" in first.stderr
        summary = Place(target).read_json("_SUMMARY.json")
        assert (summary["rows"], summary["failed"]) == (3, 1)
        assert list(summary["bad_files"]) == ["bad.parquet"]
        assert "endpoint" not in json.dumps(summary)

        Place(source).put("bad.parquet", good)
        assert run_command(*words).returncode == 0
        summary = Place(target).read_json("_SUMMARY.json")
        assert (summary["rows"], summary["this_run"]["rows"]) == (6, 3)
        assert os.path.basename(Place(target).list_files()[0].name) == (
            f"bad.parquet.{FINGERPRINT}.parquet"
        )


def test_a_killed_driver_is_started_again_and_nothing_is_done_twice(
    folder: Path, cluster: TestCluster
) -> None:
    texts = write_problems(folder, files=6, rows=300)
    words = [str(folder / "in"), "--output", str(folder / "out"), "--ray", cluster.address,
             "--cpus", "1", "--engines", "2", "--part-rows", "100"]  # fmt: skip
    first = subprocess.Popen(
        [sys.executable, "-m", "bulk", *words],
        cwd=ROOT, env=make_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert wait_until(lambda: len(list_written(folder)) >= 2, 120)
    finally:
        first.send_signal(signal.SIGKILL)
        output, _ = first.communicate()
    before = list_written(folder)
    assert 2 <= len(before) < 18, output

    again = run_command(*words)
    assert again.returncode == 0, again.stderr
    after = list_written(folder)
    assert len(after) == 18
    # What a worker was at when its driver died may still have come to its end.
    assert {name for name in before if before[name] != after[name]} <= set()
    rows = read_output(folder)
    assert sorted(row["text"] for row in rows) == sorted(texts)
    assert all(row["ncal_model"].endswith(FINGERPRINT) for row in rows)
    summary = json.loads((folder / "out/_SUMMARY.json").read_text(encoding="utf-8"))
    assert (summary["rows"], summary["failed"], summary["bad_files"]) == (1800, 0, {})
    assert sum(summary["labels"].values()) == 1800
    assert summary["this_run"]["rows"] <= 1800 - 100 * len(before)
    assert "parts are labelled already" in again.stderr
    assert "1,800 of 1,800 rows labelled by ncal-mini" in again.stdout
    assert_metrics_are_shown()

    assert run_command(*words).returncode == 0
    assert list_written(folder) == after
    other = run_command(*words, "--prior", "training")
    assert other.returncode == 2
    assert "was begun with another mix" in other.stderr and "Traceback" not in other.stderr


def assert_metrics_are_shown() -> None:
    """By Ray's own endpoint on the nodes, under the names that the dashboard asks for."""
    import ray

    from bulk.cluster.connection import connect
    from tests.deploy.test_expressions import BULK

    def scrape() -> str:
        ports = [node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]]
        texts = []
        for port in ports:
            with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=10) as answer:
                texts.append(answer.read().decode())
        return "".join(texts)

    with connect("auto"):
        address = ray.util.get_node_ip_address()
        assert wait_until(lambda: all(f"{name}{{" in scrape() for name in BULK), 20), BULK
        lines = [line for line in scrape().splitlines() if line.startswith("ray_ncal_bulk_rows")]
        assert any('outcome="labelled"' in line and 'task="timss"' in line for line in lines)
