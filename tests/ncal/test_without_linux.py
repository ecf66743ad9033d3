"""Serving and labelling without what only Linux has: real processes and the real engine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.ncal.trial import label_file, serve_once
from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment

pytestmark = pytest.mark.timeout(400)

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
    assert label_file(NCAL, tmp_path, ENVIRONMENT) == ["formulate", "implement"]


@pytest.mark.parametrize("stop_by", ["signal", "end of input"])
def test_a_request_is_answered_and_the_service_stops(
    stop_by: Literal["signal", "end of input"], tmp_path: Path
) -> None:
    assert serve_once(NCAL, tmp_path, ENVIRONMENT, stop_by=stop_by) == ("formulate", 0)
