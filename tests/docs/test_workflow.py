"""The workflow and the hooks run what the repository has."""

import re
from typing import Any

import pytest
import yaml

from tests.docs.makefile import check_make
from tests.docs.pages import ROOT

WORKFLOW = ".github/workflows/ci.yml"
HOOKS = ".pre-commit-config.yaml"


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def list_steps() -> list[dict[str, Any]]:
    return [step for job in read_yaml(WORKFLOW)["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_to_a_commit_and_say_its_version() -> None:
    """A tag can be moved to other code; a commit cannot."""
    text = (ROOT / WORKFLOW).read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert len(used) == sum("uses" in step for step in list_steps())
    pinned = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert used and all(re.fullmatch(pinned, action) for action in used)


def test_steps_name_files_that_exist() -> None:
    commands = [step["run"] for step in list_steps() if "run" in step]
    names = re.findall(r"(?<![\w/])(?:tests|\.ci)/[\w/]+(?:\.\w+)?", " ".join(commands))
    assert ".ci/run" in names
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("hook", read_yaml(HOOKS)["repos"][0]["hooks"], ids=lambda hook: hook["id"])
def test_hooks_are_targets_of_make(hook: dict[str, Any]) -> None:
    program, *words = hook["entry"].split()
    assert program == "make"
    assert check_make(tuple(words)) == []
