"""`.ci/run` installs what tests would skip for, where it may, and runs `make test` whatever comes.

The script runs as it is, among programs that say how they were called.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[1] / ".ci/run"
NEEDED = ("dirname", "timeout")
WANTED = ["prometheus", "chromium", "haproxy", "redis-server"]
THERE = {"promtool": "", "chromium": "", "haproxy": "", "redis-server": ""}
HAPPY = {"id": "echo 0", "make": 'echo "make $*"', "apt-get": 'echo "$*" >> "$CALLS"'}


class Machine:
    """A folder of programs, and what apt-get was asked for."""

    def __init__(self, root: Path, programs: dict[str, str]) -> None:
        self._root = root
        self._calls = root / "calls"
        (root / ".ci").mkdir()
        (root / "bin").mkdir()
        shutil.copy(RUN, root / ".ci/run")
        for name in NEEDED:
            found = shutil.which(name)
            assert found
            (root / "bin" / name).symlink_to(found)
        for name, body in programs.items():
            (root / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (root / "bin" / name).chmod(0o755)

    def run(self) -> tuple[int, str, str]:
        done = subprocess.run(
            ["/bin/sh", str(self._root / ".ci/run")],
            env={"PATH": str(self._root / "bin"), "CALLS": str(self._calls)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def list_installed(self) -> list[str]:
        calls = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [call.split()[-1] for call in calls if " install " in call]


def test_what_is_missing_is_installed_before_the_tests(tmp_path: Path) -> None:
    machine = Machine(tmp_path, HAPPY)
    assert machine.run() == (0, "make test\n", "")
    assert machine.list_installed() == WANTED


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, HAPPY | THERE)
    assert machine.run() == (0, "make test\n", "")
    assert machine.list_installed() == []


def test_who_is_not_root_installs_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, HAPPY | {"id": "echo 1000"})
    assert machine.run() == (0, "make test\n", "")
    assert machine.list_installed() == []


def test_without_apt_nothing_is_tried(tmp_path: Path) -> None:
    programs = {name: body for name, body in HAPPY.items() if name != "apt-get"}
    assert Machine(tmp_path, programs).run() == (0, "make test\n", "")


def test_a_failing_mirror_is_told_and_the_tests_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path, HAPPY | {"apt-get": "echo noise; exit 100"})
    status, output, errors = machine.run()
    assert (status, output) == (0, "make test\n")
    assert errors.splitlines() == [
        f".ci/run: apt-get could not install {package}; tests that need it skip"
        for package in WANTED
    ]


@pytest.mark.parametrize("status", [0, 2])
def test_the_exit_status_is_that_of_make(tmp_path: Path, status: int) -> None:
    machine = Machine(tmp_path, HAPPY | THERE | {"make": f"exit {status}"})
    assert machine.run() == (status, "", "")
