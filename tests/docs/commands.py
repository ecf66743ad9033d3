"""Every command of a page, and what is wrong with it."""

import re

from service.settings import Settings
from tests.docs.application import check_install
from tests.docs.containers import check_docker, check_kubectl
from tests.docs.curl import check_curl
from tests.docs.makefile import check_make
from tests.docs.pages import Page
from tests.docs.programs import check_ncal, check_python
from tests.docs.shell import Command, read_commands

_OTHERS = frozenset({"apt", "git", "pre-commit", "printf"})
"""Programs that are not ours and need no check."""
_PROGRAMS = re.compile(
    r"(make|curl|docker|kubectl|ncal|pip|pipx|uv|python3?|\.venv(-gpu)?/bin/\w+) "
)
_STANDS_FOR = re.compile(r"…|\.\.\.|\b(COMMAND|NAME)\b")
_ENVIRONMENT = frozenset({
    "HF_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
})  # fmt: skip


async def find_faults(page: Page) -> list[str]:
    """Check the blocks of shell of a page, and the commands within its text."""
    faults: list[str] = []
    for block in page.blocks:
        if block.language != "sh":
            continue
        try:
            commands = read_commands(block.text)
        except ValueError as error:
            faults.append(f"{page.path}:{block.line}: {error}")
            continue
        for command in commands:
            found = await check_command(command, block.text)
            faults += [f"{page.path}:{block.line}: {fault}" for fault in found]
    for line, code in page.find_code():
        if _PROGRAMS.match(code):
            found = await _check_mention(code)
            faults += [f"{page.path}:{line}: {fault}" for fault in found]
    return faults


async def check_command(command: Command, shown: str = "") -> list[str]:
    """Return what is wrong with a command; `shown` is the block that it stands in."""
    program = command.words[0]
    faults = [] if program == "docker" else _check_variables(command)
    if program == "make":
        faults += check_make(command.words[1:])
    elif program == "curl":
        faults += await check_curl(command, shown)
    elif program == "docker":
        faults += check_docker(command)
    elif program == "kubectl":
        faults += check_kubectl(command.words)
    elif program == "ncal":
        faults += check_ncal(command.words)
    elif program in ("pip", "pipx", "uv"):
        faults += check_install(command.words)
    elif re.fullmatch(r"python3?|.*/bin/\w+", program):
        faults += check_python(command.words)
    elif program not in _OTHERS:
        faults.append(f"{program}: a program that no check knows")
    return faults


async def _check_mention(code: str) -> list[str]:
    """A command in a sentence may end in `…`, and names in capitals stand for something."""
    words = [word for word in code.split() if not _STANDS_FOR.search(word)]
    if len(words) < 2 or words[0] == "curl":
        return []
    if _STANDS_FOR.search(code) and words[0] != "make":
        return check_python(tuple(words)) if words[0] in ("python", "python3") else []
    try:
        commands = read_commands(code)
    except ValueError as error:
        return [str(error)]
    found: list[str] = []
    for command in commands:
        kept = tuple(word for word in command.words if not _STANDS_FOR.search(word))
        found += await check_command(command._replace(words=kept))
    return [fault for fault in found if "arguments are required" not in fault]


def _check_variables(command: Command) -> list[str]:
    settings = {"NCAL_" + name.upper() for name in Settings.model_fields}
    known = settings | _ENVIRONMENT
    return [f"{name}: nothing reads this variable" for name in command.variables.keys() - known]
