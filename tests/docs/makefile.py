"""Commands of make: targets and variables are those of the Makefile."""

import re
from functools import cache
from typing import NamedTuple

from deploy.setup.environment import EXTRAS
from tests.docs.files import find_missing
from tests.docs.pages import ROOT
from tests.docs.programs import check_module

_PROGRAMS = {
    "LABEL_ARGS": ("labelling", ["problems.csv"]),
    "SOAK_ARGS": ("benchmarks.soak", []),
    "CHAOS_ARGS": ("benchmarks.chaos", []),
}
"""Variables that hold options of a program, and what the Makefile puts before them."""


class Makefile(NamedTuple):
    targets: frozenset[str]
    variables: frozenset[str]


@cache
def read_makefile() -> Makefile:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return Makefile(
        frozenset(re.findall(r"^([a-z][a-z-]*):.*##", text, re.M)),
        frozenset(re.findall(r"\$\((\w+)\)", text)),
    )


def check_make(words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with the words behind `make`."""
    faults: list[str] = []
    targets = [word for word in words if "=" not in word]
    for target in targets:
        if target not in read_makefile().targets:
            faults.append(f"make {target}: no such target")
    for name, value in (word.split("=", 1) for word in words if "=" in word):
        if name not in read_makefile().variables:
            faults.append(f"{name}: the Makefile knows no such variable")
        faults += _check_value(name, value, targets)
    return faults


def _check_value(name: str, value: str, targets: list[str]) -> list[str]:
    if name in ("CHECKPOINT", "FILE"):
        return [missing] if (missing := find_missing(value)) else []
    if name == "ACCELERATOR":
        return [] if value in ("cpu", "gpu") else [f"ACCELERATOR={value}: neither cpu nor gpu"]
    if name == "EXTRA":
        unknown = [each for each in re.split(r"[ ,]+", value) if each not in EXTRAS]
        return [f"EXTRA={each}: there is no such extra" for each in unknown]
    if name in _PROGRAMS:
        module, before = _PROGRAMS[name]
        return check_module(module, [*before, *value.split()])
    if name == "BENCHMARK_ARGS":
        module = "training" if targets == ["benchmark-training"] else "serving"
        return check_module(f"benchmarks.{module}", value.split())
    return []
