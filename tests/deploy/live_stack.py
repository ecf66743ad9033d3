"""The real service and the real Prometheus, started for a test, and something to do for them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import websockets.sync.client
import yaml

from tests.deploy.expressions import ROOT

START_TIMEOUT_S = 240.0
PROBLEM = {"text": "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？"}
SPOKEN = {"speaker": "student", "text": "十二个筐。"}
TURN: dict[str, Any] = {**SPOKEN, "previous": [{"speaker": "teacher", "text": "要多少个筐？"}]}


@contextlib.contextmanager
def run_service(directory: Path) -> Iterator[str]:
    """Start `python -m service` on a free port; give its address once it is ready."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "service", "--port", str(port)]
    with run_process(command, directory / "service.log") as process:
        wait_until_answers(f"{url}/health/ready", process, START_TIMEOUT_S)
        yield url


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
    with run_process(command, directory / "prometheus.log") as process:
        wait_until_answers(f"{url}/-/ready", process, START_TIMEOUT_S)
        yield url


@contextlib.contextmanager
def run_process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program from the repository's root; ask it to end afterwards, and see that it does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        except Exception as error:
            error.add_note(log.read_text(encoding="utf-8", errors="replace")[-3000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_answers(url: str, process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Ask twice a second until the answer is a success; fail when it never is."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert process.poll() is None, f"the program ended with {process.returncode}"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.5)
    raise TimeoutError(f"{url} did not answer within {timeout_s:g} s")


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
        client.get("/health/ready").raise_for_status()
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
