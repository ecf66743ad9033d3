"""The GPU image's way to do without a compiler, with the real Triton and no GPU."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.deploy.expressions import ROOT

SOURCE = ROOT / "deploy/setup/prebuilt_triton.py"
FIRST_USE = """\
import ctypes, os, sys
ctypes.CDLL(os.environ["TRITON_LIBCUDA_PATH"] + "/libcuda.so.1")  # no GPU: an empty driver
sys.setdlopenflags(os.RTLD_LAZY)
from triton.backends.nvidia.driver import CudaUtils
print(CudaUtils().load_binary.__self__.__file__)
"""


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name != "CC"} | environment
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def prebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the image has it: the program, and the module it had Triton compile."""
    if find_spec("triton") is None:
        pytest.skip("Triton is not installed: it comes with the GPU's packages")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which("gcc") is None or not headers.exists():
        pytest.skip("gcc or Python's headers are not installed")
    folder = tmp_path_factory.mktemp("prebuilt")
    done = run_python(str(shutil.copy(SOURCE, folder)))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine without a compiler, with an empty cache and an empty driver."""
    driver = ["-shared", "-Wl,-soname,libcuda.so.1", "-o", str(tmp_path / "libcuda.so.1")]
    subprocess.run(["gcc", *driver, "-x", "c", os.devnull], check=True)
    cache = str(tmp_path / "cache")
    return {"PATH": "", "TRITON_CACHE_DIR": cache, "TRITON_LIBCUDA_PATH": str(tmp_path)}


def test_triton_starts_without_a_compiler(prebuilt: Path, machine: dict[str, str]) -> None:
    manager = {"TRITON_CACHE_MANAGER": "prebuilt_triton:PrebuiltCache"}
    done = run_python("-c", FIRST_USE, PYTHONPATH=str(prebuilt), **manager, **machine)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == prebuilt


def test_without_the_module_triton_asks_for_a_compiler(
    prebuilt: Path, machine: dict[str, str]
) -> None:
    done = run_python("-c", FIRST_USE, **machine)
    assert "Failed to find C compiler" in done.stderr


def test_the_module_is_bound_to_the_driver(prebuilt: Path) -> None:
    """Else its functions are not found where a program has not loaded the driver for all."""
    [module] = prebuilt.glob("cuda_utils.*.so")
    done = subprocess.run(["readelf", "-d", module], capture_output=True, text=True, check=True)
    assert "[libcuda.so.1]" in done.stdout
