"""A service of one's own, for as long as a file is labelled."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypedDict

from labelling.client import Client
from labelling.errors import ServiceFailure

_ROOT = Path(__file__).resolve().parents[1]
_STOP_TIMEOUT_S = 30.0
_SHOWN_LINES = 5


class OwnService(NamedTuple):
    """A service that is ready."""

    url: str
    ended: threading.Event
    """Set as soon as its process is gone."""


def connect(options: Namespace) -> Client:
    """A client of the service at `--url`; its key stands in the environment."""
    key = os.environ.get("NCAL_API_KEY")
    return Client(options.url, key=key, model=options.model, patience_s=options.patience)


@contextmanager
def open_service(options: Namespace) -> Iterator[Client]:
    """Yield a client of the service at `--url`; without an address one runs meanwhile."""
    if options.url:
        yield connect(options)
        return
    print("starting the service …", file=sys.stderr)
    with run_service(options.checkpoint) as own:
        yield Client(own.url, patience_s=options.patience, ended=own.ended)


@contextmanager
def run_service(checkpoint: Path) -> Iterator[OwnService]:
    """Serve the checkpoint on a free loopback port, from when it is ready.

    Settings come from the environment as ever, but for keys, which nobody but this command
    would need. Raises ServiceFailure with the last lines of its log if it does not start.
    """
    # -P: a folder that happens to be called `service` where the command is run is not ours.
    command = [sys.executable, "-P", "-m", "service", "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            # However this command ends, killed included, the pipe ends with it, and the service.
            [*command, "--stop-with-stdin", "--checkpoint", str(checkpoint)],
            env=_make_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            encoding="utf-8", **_keep_from_ctrl_c(),
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            found = re.search(r"http://\S+:\d+", process.stdout.readline())
            if not found:
                process.wait()
                log.seek(0)
                lines = log.read().strip().splitlines()[-_SHOWN_LINES:]
                raise ServiceFailure("the service did not start:\n" + "\n".join(lines))
            own = OwnService(found[0], threading.Event())
            threading.Thread(target=_watch, args=(process, own.ended), daemon=True).start()
            yield own
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _make_environment() -> dict[str, str]:
    keys = ("NCAL_API_KEY_HASHES", "NCAL_API_KEY_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    path = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    # UTF-8: a pipe of Windows could not take the example that the service shows when ready.
    return environment | {"PYTHONPATH": os.pathsep.join(path), "PYTHONUTF8": "1"}


class _Group(TypedDict, total=False):
    process_group: int
    creationflags: int


def _keep_from_ctrl_c() -> _Group:
    """It is for this command, which stops the service itself."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}


def _watch(process: subprocess.Popen[str], ended: threading.Event) -> None:
    process.wait()
    ended.set()
