"""`make audit` against a database of the test's own, and without any."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.service_process import ROOT

pytestmark = pytest.mark.slow


@contextmanager
def serve_advisories(wrong: str | None) -> Iterator[str]:
    """OSV's interface; it knows of something for that package alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = {"name": asked["package"]["name"], "ecosystem": "PyPI"}
            events = [{"introduced": "0"}]
            affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
            advisory = {"id": "PYSEC-0-0", "details": "a test", "affected": affected}
            found = {"vulns": [advisory]} if package["name"] == wrong else {}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/query"
    finally:
        server.shutdown()


def run_audit(url: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable, "deploy/setup/audit.py", "--lock", "cpu", "--progress-spinner", "off",
        "--vulnerability-service", "osv", "--osv-url", url,
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(("wrong", "expected"), [(None, 0), ("orjson", 1)])
def test_each_locked_version_is_looked_up(wrong: str | None, expected: int) -> None:
    with serve_advisories(wrong) as url:
        done = run_audit(url)
    assert done.returncode == expected, done.stdout + done.stderr
    assert (wrong is None) or (wrong in done.stdout and "PYSEC-0-0" in done.stdout)


def test_without_a_database_one_line_says_what_to_do() -> None:
    done = run_audit("http://127.0.0.1:1/query")
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert "no advisory database answers" in line and "AUDIT_ARGS" in line
