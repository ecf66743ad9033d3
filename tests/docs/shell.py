"""A block of shell, taken apart into its commands."""

import re
import shlex
from typing import NamedTuple

_BETWEEN = {"|", "||", "&&", ";", "&"}
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
_LOOP = {"do", "then"}
_NO_COMMANDS = {"for", "done", "fi"}


class Command(NamedTuple):
    """One program and its words."""

    words: tuple[str, ...]
    variables: dict[str, str]
    """What is set for it alone."""
    feeds: tuple[str, ...] = ()
    """Words of the command whose output it reads."""


def read_commands(text: str) -> list[Command]:
    """Return the commands of a block in order; ValueError for what no shell would read."""
    commands: list[Command] = []
    held = ""
    for line in text.replace("\\\n", " ").split("\n"):
        held = f"{held}\n{line}" if held else line
        try:
            tokens = _tokenize(held)
        except ValueError:  # a quotation that goes on in the next line
            continue
        if tokens and tokens[-1] in {"|", "&&", "||"}:
            continue
        commands += _part(tokens)
        held = ""
    if held.strip():
        raise ValueError(f"no end: {held.strip()[:60]}")
    return commands


def _tokenize(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _part(tokens: list[str]) -> list[Command]:
    commands: list[Command] = []
    words: list[str] = []
    feeds: tuple[str, ...] = ()
    for token in [*tokens, ";"]:
        if token not in _BETWEEN:
            words.append(token)
            continue
        if command := _make(words, feeds):
            commands.append(command)
        feeds = tuple(words) if token == "|" else ()
        words = []
    return commands


def _make(words: list[str], feeds: tuple[str, ...]) -> Command | None:
    rest = list(words)
    while rest and rest[0] in _LOOP:
        rest.pop(0)
    variables = {}
    while rest and _VARIABLE.match(rest[0]):
        name, _, variables[name] = rest.pop(0).partition("=")
    if not rest or rest[0] in _NO_COMMANDS:
        return None
    return Command(tuple(rest), variables, feeds)
