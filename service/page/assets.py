"""The files of the page, read once and kept in memory; a path that is none of them is not found."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "static"
PREFIX = "/page/"
_PLACES = {"index.html": "/", "docs.html": "/docs"}
"""The two documents; all other files lie below the prefix."""
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DOCS_FILES = (
    "docs.html", "docs.js", "icon.svg", "core/api.js", "core/choices.js",
    "core/dom.js", "core/key.js", "core/words.js", "words/en.js", "words/zh.js",
    "style/colours.css", "style/controls.css",
)  # fmt: skip
"""What `/docs` needs; served also where the page is not wanted."""


class Asset(NamedTuple):
    """One file as a browser gets it."""

    body: bytes
    media_type: str
    etag: str


def read_assets(*, with_page: bool) -> Mapping[str, Asset]:
    """Return the files by the path at which they are served; without the page those of `/docs`."""
    names = _find_names() if with_page else DOCS_FILES
    return {_PLACES.get(name, PREFIX + name): _read(FOLDER / name) for name in names}


def _find_names() -> Iterable[str]:
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES)
    return [path.relative_to(FOLDER).as_posix() for path in paths]


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return Asset(body, _MEDIA_TYPES[path.suffix], etag)
