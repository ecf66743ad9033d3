"""What images and environments are made of is written down, and looked up, lock by lock."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.setup.audit import ALL
from deploy.setup.environment import LAYERS
from tests.deploy.expressions import ROOT

LOCKS = {name.removesuffix(".txt") for names in LAYERS.values() for name in names}


def read_recipe(target: str) -> str:
    """The commands of a target of make, lines joined."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
    assert found, target
    return found[1]


def read_locks(recipe: str) -> set[str]:
    [names] = re.findall(r"for lock in ([\w -]+);", recipe)
    return set(names.split())


def test_every_lock_has_its_list_and_is_audited() -> None:
    assert read_locks(read_recipe("sbom")) == LOCKS
    # The CPU build of torch is not on PyPI, whose advisories are asked; gpu has the same version.
    assert set(ALL) == LOCKS - {"torch-cpu"}


def test_the_list_of_an_image_holds_every_package_with_its_digests(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py", reason="cyclonedx-bom is not installed (make setup)")
    [command] = re.findall(r"\$\(RUN\) (.*?) \|\| exit", read_recipe("sbom"))
    output = tmp_path / "cpu.json"
    words = command.replace("build/sbom/$$lock.cdx.json", str(output)).replace("$$lock", "cpu")
    done = subprocess.run(
        [sys.executable, *words.split()], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(output.read_text(encoding="utf-8"))
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "ncal-serve"
    lock = (ROOT / "deploy/setup/locks/cpu.txt").read_text(encoding="utf-8")
    named = set(re.findall(r"^([a-z0-9-]+)==([\w.]+)", lock, re.M))
    assert {(part["name"], part["version"]) for part in listed["components"]} == named
    digests = {each for part in listed["components"] for each in read_digests(part)}
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", lock))


def read_digests(component: dict[str, object]) -> list[str]:
    references = component.get("externalReferences")
    assert isinstance(references, list)
    return [entry["content"] for each in references for entry in each.get("hashes", ())]
