"""The pages of the repository, taken apart: fenced blocks, code in the text, links, headings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
_FENCE = re.compile(r"^(```|~~~)(\w*)\s*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block."""

    line: int
    """Where its fence stands, counted from 1."""
    language: str
    text: str


class Page(NamedTuple):
    """A page and where it lies, relative to the root."""

    path: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return [part for part in _split(self.text) if isinstance(part, Block)]

    @property
    def prose(self) -> list[tuple[int, str]]:
        """Paragraphs, tables and list items, each with the number of its first line."""
        return [part for part in _split(self.text) if not isinstance(part, Block)]

    def find_code(self) -> Iterator[tuple[int, str]]:
        """Code within the text, with the line it stands in or shortly after."""
        for line, paragraph in self.prose:
            for found in _CODE.finditer(" ".join(paragraph.split("\n"))):
                yield line, found[1]

    def find_links(self) -> Iterator[tuple[int, str]]:
        """Targets of links and pictures."""
        for line, paragraph in self.prose:
            for found in _LINK.finditer(paragraph):
                yield line, found[1]

    def find_anchors(self) -> set[str]:
        """What a link may name behind `#`, made of the headings as code hosts do."""
        headings = re.findall(r"^#+ +(.+)$", "\n".join(text for _, text in self.prose), re.M)
        return {_make_anchor(heading) for heading in headings}


def read_page(path: str) -> Page:
    return Page(path, (ROOT / path).read_text(encoding="utf-8"))


def read_pages() -> list[Page]:
    """Every page that tells somebody to do something; the changelog only tells what was done."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
    return [
        read_page(path)
        for path in (*READMES, *docs, "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")
    ]


def _split(text: str) -> Iterator[Block | tuple[int, str]]:
    held: list[str] = []
    start, fence, language = 1, "", ""
    for number, line in enumerate(text.split("\n"), 1):
        found = _FENCE.match(line)
        if fence:
            if found and found[1] == fence and not found[2]:
                yield Block(start, language, "\n".join(held))
                held, fence = [], ""
            else:
                held.append(line)
            continue
        begins_item = bool(re.match(r"\s*([-*]|\d+\.) ", line)) or line.startswith("#")
        if held and (found or not line.strip() or begins_item):
            yield start, "\n".join(held)
            held = []
        if found:
            start, fence, language = number, found[1], found[2]
        elif line.strip():
            start = number if not held else start
            held.append(line)
    assert not fence, "a fence that is never closed"
    if held:
        yield start, "\n".join(held)


def _make_anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")
