"""Serving and labelling without what only Linux has: real processes and the real engine."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment

pytestmark = pytest.mark.timeout(200)

PROBLEM = "一个养鸡场有131只鸡，每个鸡笼最多能养6只鸡，养这些鸡共需要鸡笼多少个？"
ENVIRONMENT = make_unmeasured_environment() | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent / "windows")])
}
NCAL = (sys.executable, "-m", "ncal")


def test_the_place_lacks_what_it_should_lack() -> None:
    code = (
        "import asyncio, importlib.util, os, signal;"
        "names = 'uvloop', 'fcntl', 'resource', 'termios', 'pwd', 'grp', 'pty';"
        "assert not any(importlib.util.find_spec(name) for name in names);"
        "assert not hasattr(signal, 'SIGHUP') and not hasattr(os, 'fork');"
        "asyncio.new_event_loop().add_signal_handler(signal.SIGTERM, print)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stderr.strip().endswith("NotImplementedError"), done.stderr


def test_a_file_is_labelled(tmp_path: Path) -> None:
    path = tmp_path / "problems.csv"
    path.write_text(f"text\n{PROBLEM}\n解方程 3x+5=20。\n", encoding="utf-8")
    done = subprocess.run(
        [*NCAL, "label", str(path)], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "problems.labelled.csv").open(encoding="utf-8", newline="") as file:
        assert [row["ncal_label"] for row in csv.DictReader(file)] == ["formulate", "implement"]
    assert not (tmp_path / "problems.labelled.csv.partial").exists()


@pytest.mark.parametrize("way", ["signal", "end of input"])
def test_a_request_is_answered_and_the_service_stops(way: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        service = subprocess.Popen(
            [*NCAL, "serve", "--port", "0", "--stop-with-stdin"],
            cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True,
        )  # fmt: skip
        killer = threading.Timer(120, service.kill)
        killer.daemon = True
        killer.start()
        assert service.stdin and service.stdout
        found = re.search(r"http://[0-9.]+:\d+", service.stdout.readline())
        log.seek(0)
        assert found, log.read()
        request = urllib.request.Request(
            f"{found[0]}/classify/problem",
            json.dumps({"text": PROBLEM}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["label"] == "formulate"
        if way == "signal":
            service.send_signal(signal.SIGINT)
        else:
            service.stdin.close()
        assert service.wait() == 0
        killer.cancel()
        service.stdout.close()
