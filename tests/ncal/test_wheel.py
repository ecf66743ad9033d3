"""The source archive and the wheel made of it: all that runs is inside, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment

pytestmark = pytest.mark.slow

PACKAGES = (
    "bulk", "contract", "engine", "labelling", "ncal", "ncal_client", "service", "tables",
    "training",
)  # fmt: skip
LEFT_OUT = {
    "ncal_client/pyproject.toml", "ncal_client/setup.cfg", "training/LOG.md", "training/RESULTS.md",
}  # fmt: skip
"""Files of packages that are for readers of the repository."""


def list_tracked(*folders: str) -> set[str]:
    """Files that are committed or about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: which files belong to it cannot be told")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def build(source: Path, kind: str, output: Path) -> Path:
    """Have the backend build, as pip does, with the setuptools that is installed."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(output)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=make_unmeasured_environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = output.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the source archive, in a copy of the tree."""
    pytest.importorskip("setuptools", minversion="78", reason="builds the package")
    base = tmp_path_factory.mktemp("wheel")
    for name in list_tracked():
        target = base / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    archive = build(base / "tree", "sdist", base / "archive")
    with tarfile.open(archive) as file:
        file.extractall(base / "unpacked", filter="data")
    (source,) = (base / "unpacked").iterdir()
    assert not {"benchmarks", "docs", "tests"} & {path.name for path in source.iterdir()}
    return build(source, "wheel", base / "wheel")


def test_the_wheel_has_what_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    assert names == list_tracked(*PACKAGES) - LEFT_OUT
    bundled = BUNDLED_CHECKPOINT.relative_to(ROOT).as_posix()
    assert {f"{bundled}/{name}" for name in ("model.safetensors", "model.onnx")} <= names


def test_the_command_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    code = (
        "import sys; from importlib.metadata import entry_points;"
        "(command,) = entry_points(group='console_scripts', name='ncal');"
        "sys.exit(command.load()())"
    )
    said = []
    for words in (["--help"], ["models"]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            cwd=tmp_path,
            env=make_unmeasured_environment() | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0].startswith("usage: ncal COMMAND")
    assert str(tmp_path / "site" / "service" / "checkpoints") in said[1]
