"""A service of one's own, for as long as a file is labelled."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from labelling.errors import ServiceFailure

_ROOT = Path(__file__).resolve().parents[1]
_STOP_TIMEOUT_S = 30.0
_SHOWN_LINES = 5
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class OwnService(NamedTuple):
    """A service that is ready."""

    url: str
    ended: threading.Event
    """Set as soon as its process is gone."""


@contextmanager
def run_service(checkpoint: Path) -> Iterator[OwnService]:
    """Serve the checkpoint on a free loopback port, from when it is ready.

    Settings come from the environment as ever, but for keys, which nobody but this command
    would need. Raises ServiceFailure with the last lines of its log if it does not start.
    """
    keys = ("NCAL_API_KEY_HASHES", "NCAL_API_KEY_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_ROOT), environment.get("PYTHONPATH")])
    )
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--checkpoint", str(checkpoint)],
            env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
            process_group=0,  # Ctrl-C is for this command, which stops the service itself
            preexec_fn=_end_with_parent,
        )  # fmt: skip
        assert process.stdout is not None
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
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _watch(process: subprocess.Popen[str], ended: threading.Event) -> None:
    process.wait()
    ended.set()


def _end_with_parent() -> None:
    """However this command ends, killed included, its service drains and ends too."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
