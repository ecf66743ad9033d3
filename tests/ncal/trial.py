"""Tries the application as its user would: labels a file, and asks the service one question.

`python tests/ncal/trial.py` tries the `ncal` that is on the path; the standard library is enough.
"""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

PROBLEM = "一个养鸡场有131只鸡，每个鸡笼最多能养6只鸡，养这些鸡共需要鸡笼多少个？"
_TIMEOUT_S = 120.0


def label_file(
    ncal: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The labels of two problems; nothing is left of what is kept meanwhile."""
    path = folder / "problems.csv"
    path.write_text(f"text\n{PROBLEM}\n解方程 3x+5=20。\n", encoding="utf-8")
    done = subprocess.run(
        [*ncal, "label", str(path)], cwd=folder, env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not (folder / "problems.labelled.csv.partial").exists()
    with (folder / "problems.labelled.csv").open(encoding="utf-8", newline="") as file:
        return [row["ncal_label"] for row in csv.DictReader(file)]


def serve_once(
    ncal: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    stop_by: Literal["signal", "end of input"],
) -> tuple[str, int]:
    """The label of a problem, and how the service ends when it is told to stop."""
    with (folder / "log").open("w+", encoding="utf-8") as log:
        service = subprocess.Popen(
            [*ncal, "serve", "--port", "0", "--stop-with-stdin"],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        killer = threading.Timer(_TIMEOUT_S, service.kill)
        killer.daemon = True
        killer.start()
        assert service.stdin and service.stdout
        found = re.search(rb"http://[0-9.]+:\d+", service.stdout.readline())
        log.seek(0)
        assert found, log.read()
        label = _ask(found[0].decode())
        if stop_by == "signal":
            service.send_signal(signal.SIGINT)
        else:
            service.stdin.close()
        status = service.wait()
        killer.cancel()
        service.stdout.close()
    return label, status


def _ask(url: str) -> str:
    body = json.dumps({"text": PROBLEM}).encode()
    headers = {"content-type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{url}/classify/problem", body, headers)
    with opener.open(request, timeout=_TIMEOUT_S) as answer:
        label: str = json.load(answer)["label"]
        return label


def main() -> None:
    path = shutil.which("ncal")
    if path is None:
        raise SystemExit("no ncal on the path; install it with `pip install .`")
    with tempfile.TemporaryDirectory() as name:
        assert label_file([path], Path(name)) == ["formulate", "implement"]
        answer = serve_once([path], Path(name), stop_by="end of input")
        assert answer == ("formulate", 0), answer
    print(f"{path}: labels and serves on {sys.platform}")


if __name__ == "__main__":
    main()
