"""The program that makes the locks, as it is and with the real uv, on an index of tiny packages."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.expressions import ROOT

pytestmark = pytest.mark.slow

PROJECT = """\
[project]
name = "tiny"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["web>=1"]

[project.optional-dependencies]
redis = ["store"]
vllm-cpu = ["engine-cpu"]
vllm-gpu = ["engine"]
bulk = ["cluster"]
training = ["trainer"]
test = ["checker"]
"""
# Name, version, what it needs.
PACKAGES = [
    ("web", "1.0", ()),
    ("web", "2.0", ()),
    ("store", "1.0", ()),
    ("engine-cpu", "1.0", ("torch", "torchvision", "web<2", "columns")),
    ("engine", "1.0", ("torch", "triton")),
    ("cluster", "1.0", ("web", "columns")),
    ("columns", "1.0", ()),
    ("trainer", "1.0", ("torch", "web")),
    ("checker", "1.0", ()),
    ("torch", "2.13.0", ("triton",)),
    ("torch", "3.0", ()),
    ("torchvision", "1.0", ()),
    ("triton", "1.0", ()),
]


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the locks that the program has made."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if shutil.which("uv", path=places) is None:
        pytest.skip("uv is not installed; the development environment has it")
    root = tmp_path_factory.mktemp("lock")
    folder = root / "deploy" / "setup" / "locks"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/setup/lock.py", folder.parent)
    (root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "torch-cpu.txt").write_text("torch==2.13.0+cpu --hash=sha256:0\n", encoding="utf-8")
    for name, version, needs in PACKAGES:
        add_package(root / "index", name, version, needs)
    done = run(folder.parent / "lock.py", index=root / "index")
    assert done.returncode == 0, done.stderr
    return folder


def add_package(index: Path, name: str, version: str, needs: tuple[str, ...]) -> None:
    """Put a wheel of one empty module into a simple index (PEP 503)."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        lines = [f"Requires-Dist: {need}\n" for need in needs]
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{module}-{version}.dist-info/METADATA", head + "".join(lines))
        wheel.writestr(f"{module}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr(f"{module}-{version}.dist-info/RECORD", "")
    wheels = sorted(folder.glob("*.whl"))
    digests = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    links = [f'<a href="{name}#sha256={digest}">{name}</a>' for name, digest in digests.items()]
    (folder / "index.html").write_text("\n".join(links), encoding="utf-8")


def run(program: Path, *options: str, index: Path) -> subprocess.CompletedProcess[str]:
    sources = {"UV_DEFAULT_INDEX": f"file://{index}", "UV_INDEX": "", "UV_NO_CACHE": "1"}
    return subprocess.run(
        [sys.executable, str(program), *options],
        env=os.environ | sources,
        capture_output=True,
        text=True,
        timeout=120,
    )


def read(locks: Path, name: str) -> set[str]:
    text = (locks / name).read_text(encoding="utf-8")
    assert text.startswith("# Made by `make lock`")
    assert "file:" not in text and "--index" not in text
    found = re.findall(r"^(\S+==\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.M)
    assert len(found) == len(re.findall(r"^[a-z]", text, re.M))
    return set(found)


def test_the_service_is_locked_without_torch_and_what_torch_needs_of_a_gpu(locks: Path) -> None:
    assert read(locks, "cpu.txt") == {"store==1.0", "web==1.0"}
    assert read(locks, "vllm.txt") == {"columns==1.0", "engine-cpu==1.0"}


def test_what_vllm_and_a_cluster_need_stands_in_both_locks(locks: Path) -> None:
    assert read(locks, "bulk.txt") == {"cluster==1.0", "columns==1.0"}


def test_the_development_lock_holds_only_what_comes_on_top(locks: Path) -> None:
    assert read(locks, "dev.txt") == {"checker==1.0", "trainer==1.0"}


def test_the_gpu_lock_keeps_the_versions_of_the_other(locks: Path) -> None:
    """web 2.0 would do; torch is the version of the CPU's."""
    expected = {"engine==1.0", "store==1.0", "torch==2.13.0", "triton==1.0", "web==1.0"}
    assert read(locks, "gpu.txt") == expected


def test_versions_that_are_locked_move_only_when_asked(tmp_path: Path, locks: Path) -> None:
    folder = tmp_path / "deploy" / "setup"
    shutil.copytree(locks.parent, folder)
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    shutil.copytree(locks.parents[2] / "index", tmp_path / "index")
    add_package(tmp_path / "index", "checker", "2.0", ())
    for options, version in (((), "1.0"), (("--upgrade",), "2.0")):
        done = run(folder / "lock.py", *options, index=tmp_path / "index")
        assert done.returncode == 0, done.stderr
        assert read(folder / "locks", "dev.txt") == {f"checker=={version}", "trainer==1.0"}


def test_a_lock_that_cannot_be_made_says_so(tmp_path: Path, locks: Path) -> None:
    folder = tmp_path / "deploy" / "setup"
    shutil.copytree(locks.parent, folder)
    broken = PROJECT.replace("web>=1", "web>=9")
    (tmp_path / "pyproject.toml").write_text(broken, encoding="utf-8")
    before = (folder / "locks" / "cpu.txt").read_text(encoding="utf-8")
    done = run(folder / "lock.py", index=locks.parents[2] / "index")
    assert done.returncode == 1
    assert done.stderr.endswith("uv found no versions that fit together; its reason is above.\n")
    assert (folder / "locks" / "cpu.txt").read_text(encoding="utf-8") == before
