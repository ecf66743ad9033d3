"""Commands that install the application."""

import re
import tomllib
from functools import cache

from tests.docs.pages import ROOT

_INSTALLERS = (("uv", "tool", "install"), ("pipx", "install"))


def check_install(words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a command that installs this folder as an application, or a
    distribution that lies in it."""
    said = " ".join(words)
    if words[0] == "pip":
        is_ours = words[1:-1] == ("install",) and (ROOT / words[-1] / "pyproject.toml").is_file()
        return [] if is_ours else [f"{said}: installs no folder of the repository"]
    if words[:-1] not in _INSTALLERS:
        return [] if words[:2] == ("uv", "tool") else [f"{said}: installs no application"]
    found = re.fullmatch(r"\.(?:\[([\w,-]+)\])?", words[-1])
    if not found:
        return [f"{said}: not the folder of the repository"]
    unknown = set(filter(None, (found[1] or "").split(","))) - _list_extras()
    return [f"{said}: pyproject.toml has no extra {extra}" for extra in sorted(unknown)]


@cache
def _list_extras() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(project["optional-dependencies"])
