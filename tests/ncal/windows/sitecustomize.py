"""Takes from a Python on Linux what Windows lacks; read at its start if PYTHONPATH leads here.

What it cannot take is how files and processes behave there: continuous integration runs that.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from importlib.machinery import ModuleSpec
from typing import Any

MISSING = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop"}
SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGQUIT", "SIGCHLD")
FUNCTIONS = (
    "fork", "forkpty", "getuid", "geteuid", "getpgid", "killpg", "nice", "sched_getaffinity",
    "sched_setaffinity", "setsid", "statvfs", "getloadavg", "sysconf",
)  # fmt: skip


class Without:
    """A finder of modules that finds all but these."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in MISSING:
            return None
        spec: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return spec


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        if options.get("preexec_fn") is not None:
            raise ValueError("preexec_fn is not supported on Windows platforms")
        super().__init__(*arguments, **options)


def _refuse(*_: Any) -> None:
    raise NotImplementedError


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]  # type: ignore[misc]
for module in MISSING:
    sys.modules.pop(module, None)
for name in SIGNALS:
    delattr(signal, name)
for name in FUNCTIONS:
    delattr(os, name)
del socket.SO_REUSEPORT
subprocess.Popen = Popen  # type: ignore[misc]
for loop in {asyncio.SelectorEventLoop, asyncio.AbstractEventLoop}:
    loop.add_signal_handler = _refuse  # type: ignore[assignment, method-assign]
    loop.remove_signal_handler = _refuse  # type: ignore[assignment, method-assign]
