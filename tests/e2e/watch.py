"""What a watched service has suffered: how long its event loop was held, how much it grew."""

import time
from pathlib import Path
from typing import NamedTuple

from tests.e2e.service_process import ServiceProcess

_TOLD_AFTER_S = 0.02


class Harm(NamedTuple):
    """Of what was done within one block."""

    held_s: float
    """The longest stretch in which the event loop could do nothing else, in processor time."""
    grown_mib: float


class Watch:
    """A service with `tests.e2e.watched_service` inside."""

    def __init__(self, service: ServiceProcess, file: Path) -> None:
        self.service = service
        self._file = file
        self._process = Path(f"/proc/{service.process.pid}")
        self._since = 0.0
        self._before_mib = 0.0

    def begin(self) -> None:
        """From here on it is measured."""
        (self._process / "clear_refs").write_text("5")  # the peak of memory begins anew
        self._before_mib = self._read_mib("VmRSS")
        self._since = time.monotonic()

    def end(self) -> Harm:
        """What there was since `begin`."""
        time.sleep(_TOLD_AFTER_S)
        stretches = [
            tuple(map(float, line.split())) for line in self._file.read_text().splitlines()
        ]
        held_s = max((held for ended, held in stretches if ended >= self._since), default=0.0)
        return Harm(held_s, self._read_mib("VmHWM") - self._before_mib)

    def _read_mib(self, name: str) -> float:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
