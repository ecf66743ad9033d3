"""The real Prometheus, started for a test, and something for the service to do meanwhile."""

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import websockets.sync.client
import yaml

from tests.deploy.expressions import ROOT
from tests.e2e.service_process import wait_until

PROBLEM = {"text": "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？"}
SPOKEN = {"speaker": "student", "text": "十二个筐。"}
TURN: dict[str, Any] = {**SPOKEN, "previous": [{"speaker": "teacher", "text": "要多少个筐？"}]}


@contextlib.contextmanager
def run_prometheus(directory: Path, program: str, service_url: str) -> Iterator[str]:
    """Start Prometheus with the committed configuration and rules, on one target.

    Only where the target is and how often it is looked at differ from the committed file.
    """
    source = ROOT / "deploy/prometheus/prometheus.yml"
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(source.parent / pattern) for pattern in config["rule_files"]]
    scrape = config["scrape_configs"][0]
    del scrape["dns_sd_configs"]
    scrape["static_configs"] = [{"targets": [service_url.removeprefix("http://")]}]
    config["scrape_configs"] = [scrape]
    config_file = directory / "prometheus.yml"
    config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{find_free_port()}"
    command = [
        program,
        f"--config.file={config_file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    url = f"http://{address}"
    log = directory / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        ready = wait_until(lambda: process.poll() is not None or answers(f"{url}/-/ready"))
        assert ready and process.poll() is None, log.read_text(encoding="utf-8")
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).is_success
    return False


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def send_light_load(url: str) -> None:
    """Send a little of everything: each task one by one and in bulk, and mistakes."""
    long = {"text": "小明有三个苹果。" * 2000}
    with httpx.Client(base_url=url, timeout=60.0) as client:
        for path, item in (("/classify/problem", PROBLEM), ("/classify/dialogue-turn", TURN)):
            _post(client, path, item, status=200)
            _post(client, f"{path}/batch", {"items": [item, {}, item]}, status=200)
            _post(client, path, {}, status=422)
            _stream(client, f"{path}/stream", [item, {}, item])
        _post(client, "/classify/problem", long, status=200)
        _post(client, "/classify/dialogue", {"turns": [*TURN["previous"], SPOKEN]}, status=200)
        client.get("/health/ready")  # runs a canary
    _speak(url.replace("http", "ws"))


def _post(client: httpx.Client, path: str, body: Any, *, status: int) -> None:
    response = client.post(path, json=body)
    assert response.status_code == status, response.text


def _stream(client: httpx.Client, path: str, items: list[Any]) -> None:
    lines = "".join(json.dumps(item) + "\n" for item in items)
    headers = {"content-type": "application/x-ndjson"}
    response = client.post(path, content=lines, headers=headers)
    assert response.status_code == 200, response.text


def _speak(url: str) -> None:
    """Hold a live dialogue of one turn."""
    with websockets.sync.client.connect(f"{url}/classify/dialogue/live") as connection:
        connection.send(json.dumps({"type": "turn", **SPOKEN}))
        connection.send(json.dumps({"type": "end"}))
        messages = [json.loads(message)["type"] for message in connection]
    assert "label" in messages, messages
