"""The committed routes and silences, by the real Alertmanager: who is told of what."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.expressions import ROOT
from tests.deploy.live_stack import answers, find_free_port
from tests.e2e.service_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Receiver:
    """Somebody who is told of alerts, as Alertmanager's webhooks tell."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.told += [alert["labels"] for alert in json.loads(body)["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


@contextmanager
def run_alertmanager(folder: Path, receiver: Receiver) -> Iterator[str]:
    """Start it with the committed configuration, whose receiver is told at once."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("Alertmanager is not installed (Debian: the package prometheus-alertmanager)")
    config = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text("utf-8"))
    [nobody] = config["receivers"]
    nobody["webhook_configs"] = [{"url": receiver.url, "send_resolved": False}]
    config["route"]["group_wait"] = "1s"
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{find_free_port()}"
    command = [
        program, f"--config.file={file}", f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}", "--cluster.listen-address=",
    ]  # fmt: skip
    log = folder / "alertmanager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://{address}"
        assert wait_until(lambda: process.poll() is not None or answers(f"{url}/-/ready"))
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield url
    finally:
        process.kill()
        process.wait()


def test_what_a_replica_that_is_down_would_say_is_told_to_nobody(tmp_path: Path) -> None:
    receiver = Receiver()
    fired = [
        {"alertname": "NcalTargetDown", "severity": "page", "instance": "one"},
        {"alertname": "NcalEngineDown", "severity": "page", "instance": "one"},
        {"alertname": "NcalEngineDown", "severity": "page", "instance": "two"},
        {"alertname": "NcalBudgetBurn1h", "severity": "page", "sli": "availability"},
        {"alertname": "NcalBudgetBurn3d", "severity": "ticket", "sli": "availability"},
        {"alertname": "NcalBudgetBurn3d", "severity": "ticket", "sli": "latency"},
    ]
    with run_alertmanager(tmp_path, receiver) as url:
        answer = httpx.post(f"{url}/api/v2/alerts", json=[{"labels": each} for each in fired])
        assert answer.is_success, answer.text
        heard = [fired[number] for number in (0, 2, 3, 5)]
        assert wait_until(lambda: len(receiver.told) >= len(heard), timeout_s=30.0)
        assert not wait_until(lambda: len(receiver.told) > len(heard), timeout_s=3.0)
    receiver.server.shutdown()
    assert sorted(sorted(each.items()) for each in receiver.told) == sorted(
        sorted(each.items()) for each in heard
    )
