"""The engine's process must not outlive the service that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import multiprocessing, os, time
if __name__ == "__mp_main__":
    from service.child import prepare_child
    prepare_child()

def wait():
    time.sleep(600)

if __name__ == "__main__":
    os.environ["NCAL_SERVICE_PID"] = str(os.getpid())
    child = multiprocessing.get_context("spawn").Process(target=wait)
    child.start()
    print(child.pid, flush=True)
    child.join()
"""


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_killed_service_leaves_no_orphan(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "NCAL_LOG_LEVEL": "info",
    }
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 60
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(child)
