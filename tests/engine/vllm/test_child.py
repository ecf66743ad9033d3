"""The engine's process must not outlive the service that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PARENT = """
import multiprocessing, os, time
if __name__ == "__mp_main__":
    from engine.vllm.child import prepare_child
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


def is_blocked(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def find_niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def wait_until(is_true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not is_true() and time.monotonic() < end:
        time.sleep(0.1)
    return is_true()


def test_a_killed_service_leaves_no_orphan(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "NCAL_LOG_LEVEL": "info",
    }
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    assert wait_until(lambda: is_blocked(child, signal.SIGINT)), "Ctrl-C would reach the engine"
    assert find_niceness(child) > find_niceness(parent.pid) or find_niceness(child) == 19
    assert not is_blocked(child, signal.SIGTERM)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_until(lambda: not is_running(child))
