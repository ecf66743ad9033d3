"""The client alone: its wheel works where there is nothing of the service."""

import asyncio
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ncal_client import __version__
from tests.labelling.runs import served
from tests.test_layout import ROOT
from tests.unmeasured import make_unmeasured_environment

pytestmark = pytest.mark.slow

PROGRAM = """
import importlib.util, sys
for name in ("service", "engine", "contract", "tables", "labelling", "fastapi", "openvino",
             "pydantic", "orjson"):
    assert importlib.util.find_spec(name) is None, name
from ncal_client import Client, Problem
with Client(sys.argv[1]) as client:
    results = list(client.stream([Problem("1+1=?", id="a")]))
    with client.open_live() as live:
        (label,) = live.say("teacher", "1+1=?")
    print(client.classify_problem("1+1=?").label, results[0].answer.label, label.answer.task)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip does, in a copy of the folder, with the setuptools that is installed."""
    pytest.importorskip("setuptools", minversion="78", reason="builds the package")
    base = tmp_path_factory.mktemp("client-wheel")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "ncal_client", base / "source", ignore=ignored)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(base)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=base / "source", env=make_unmeasured_environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = base.glob("*.whl")
    assert not list((base / "source").rglob("build"))  # it would be a part of the application's
    return made


def find_distributions(requirements: list[str]) -> dict[str, Distribution]:
    """What these requirements bring, by name, as it is installed here."""
    found: dict[str, Distribution] = {}
    while requirements:
        requirement = Requirement(requirements.pop())
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if is_wanted and name not in found:
            found[name] = distribution(name)
            requirements += found[name].requires or []
    return found


def test_it_holds_the_whole_package_and_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ncal_client").rglob("*.py")}
    assert names == sources | {"ncal_client/py.typed"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (
        wheel.name.startswith(f"ncal_client-{__version__}-") and __version__ == project["version"]
    )
    alone = tomllib.loads((ROOT / "ncal_client/pyproject.toml").read_text(encoding="utf-8"))
    assert set(alone["project"]["dependencies"]) <= set(project["dependencies"])


async def test_it_works_beside_nothing_but_what_it_declares(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
        (metadata,) = (name for name in file.namelist() if name.endswith("/METADATA"))
        text = file.read(metadata).decode()
    brought = find_distributions(re.findall(r"^Requires-Dist: (.*)$", text, re.M))
    assert {"httpx2", "websockets", "h11"} <= brought.keys() and len(brought) < 12
    for each in brought.values():
        for top in {Path(path).parts[0] for path in each.files or () if ".." not in path.parts}:
            target = tmp_path / "site" / top
            if not target.exists():
                target.symlink_to(str(each.locate_file(top)))
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n" + PROGRAM
    async with served() as (service, url):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", "-S", "-c", program, url],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        told = await service.client.post("/classify/problem", json={"text": "1+1=?"})
    assert done.returncode == 0, done.stderr
    label = told.json()["label"]
    assert done.stdout.split() == [label, label, "irf"]
