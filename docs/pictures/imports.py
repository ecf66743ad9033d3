"""Which room imports which, read from the source."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "contract", "engine", "tables", "service", "labelling", "bulk", "training", "ncal",
    "ncal_client",
)  # fmt: skip
Graph = dict[str, set[str]]


def read_parts() -> Graph:
    """Part → parts that it imports."""
    return {
        part: {name.partition(".")[0] for name in _find_imports((ROOT / part).rglob("*.py"))}
        & set(PARTS) - {part}
        for part in PARTS
    }


def read_rooms(part: str) -> Graph:
    """Room of a part (a folder, or a module that lies in no folder) → rooms that it imports."""
    folder = ROOT / part
    sources: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        if not room.startswith("__"):
            sources.setdefault(room, []).append(path)
    graph: Graph = {}
    for room, paths in sources.items():
        names = [name.split(".") for name in _find_imports(paths)]
        imported = {parts[1] for parts in names if parts[0] == part and len(parts) > 1}
        graph[room] = imported & sources.keys() - {room}
    return graph


def order_by_level(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Levels from the lowest up: what is imported lies below. ValueError if there is a circle."""
    levels: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(graph):
        level = sorted(room for room in graph.keys() - placed if graph[room] <= placed)
        if not level:
            raise ValueError(f"a circle of imports: {', '.join(sorted(graph.keys() - placed))}")
        levels.append(level)
        placed |= set(level)
    return levels


def describe_room(part: str, room: str = "") -> str:
    """First line of the docstring of a room."""
    place = ROOT / part / room if room else ROOT / part
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _find_imports(paths: Iterable[Path]) -> set[str]:
    """Dotted names of what is imported, `from a import b` as `a.b`, those in functions too."""
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
