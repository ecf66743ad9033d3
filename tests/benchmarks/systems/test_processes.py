"""What is measured of processes."""

import os
import subprocess
import sys

import pytest

from benchmarks.systems.processes import PeakMemory, read_family_processor_s

_MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what a process holds and spends")
def test_the_most_memory_is_that_of_its_own_time() -> None:
    first = PeakMemory()
    held = bytearray(64 * _MIB)
    size = len(held)
    del held
    before = first.read_mib()
    assert PeakMemory().read_mib() < before - size / _MIB / 2


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what a process holds and spends")
def test_processor_time_is_that_of_children_too() -> None:
    before, own = read_family_processor_s(os.getpid()), sum(os.times()[:2])
    work = "import os\nwhile os.times().user < 0.3: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    spent = read_family_processor_s(os.getpid()) - before
    assert spent - (sum(os.times()[:2]) - own) >= 0.25
