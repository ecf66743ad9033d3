"""From the words behind `ncal` to the program that they mean."""

import difflib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from ncal.programs import PROGRAMS, Program

_DONE, _UNREAD, _REFUSED = 0, 1, 2
_OWN = ("ncal", "contract", "engine", "tables", "service", "labelling", "bulk", "training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one program; returns its exit status, 2 when there is none to run."""
    _write_what_can_be_written()
    try:
        status = _choose(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD


def _choose(words: list[str]) -> int:
    if not words:
        print(describe_programs(), file=sys.stderr)
        return _REFUSED
    if words[0] in ("-h", "--help"):
        print(describe_programs())
        return _DONE
    if words[0] == "--version":
        from service import __version__

        print(f"ncal-serve {__version__}")
        return _DONE
    program = PROGRAMS.get(words[0])
    if program is None:
        print(f"ncal: there is no `ncal {words[0]}`; {_suggest(words[0])}", file=sys.stderr)
        return _REFUSED
    return _run(words[0], program, words[1:])


def describe_programs() -> str:
    """A line each, in the groups that they stand in."""
    width = max(map(len, PROGRAMS))
    lines = [
        "usage: ncal COMMAND …",
        "",
        "Labels primary-school maths problems and tutoring dialogue turns.",
    ]
    group = None
    for name, program in PROGRAMS.items():
        if program.group != group:
            group = program.group
            lines += ["", f"{group}:"]
        lines.append(f"  {name:{width}}  {program.summary}")
    lines += [
        "",
        "`ncal COMMAND --help` lists the options of one, `ncal --version` says which this is.",
    ]
    return "\n".join(lines)


def _run(name: str, program: Program, arguments: list[str]) -> int:
    """What it needs and is not installed is said in one line with the remedy."""
    try:
        return program.run(arguments)
    except ModuleNotFoundError as error:
        missing, _, module = (error.name or "").partition(".")
        if not missing or (missing in _OWN and module):  # a fault of ours
            raise
        print(
            f"ncal: `ncal {name}` needs {missing}, which is not installed; {program.remedy}",
            file=sys.stderr,
        )
        return _REFUSED


def _suggest(word: str) -> str:
    matches = difflib.get_close_matches(word, PROGRAMS, n=1, cutoff=0.5)
    meant = f"did you mean `ncal {matches[0]}`? " if matches else ""
    return f"{meant}`ncal --help` lists the commands"


def _write_what_can_be_written() -> None:
    """A pipe of Windows may know no Chinese: then a sign stands for it, and nothing fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
