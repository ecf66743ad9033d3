"""The rooms of the project, drawn from the imports."""

from docs.pictures.imports import ROOT, describe_room, order_by_level, read_parts, read_rooms
from docs.pictures.svg import (
    GREY,
    make_arrow,
    make_box,
    make_drawing,
    make_paragraph,
    make_text,
    wrap,
)

_FILLS = {
    "training": "#fdf0d5", "service": "#d9ecf7", "labelling": "#e4f3e4", "bulk": "#e4f3e4",
    "engine": "#efe6f6", "tables": "#efe6f6", "contract": "#f0f2f4",
    "ncal": "#f0f2f4", "ncal_client": "#e4f3e4",
}  # fmt: skip
_BOXES = {
    "ncal": (20, 20, 810, 58), "training": (20, 116, 180, 108), "service": (262, 116, 180, 108),
    "labelling": (492, 116, 156, 108), "bulk": (670, 116, 160, 108),
    "engine": (345, 266, 150, 118), "tables": (510, 266, 140, 118),
    "ncal_client": (690, 266, 140, 118), "contract": (20, 421, 810, 64),
}  # fmt: skip
"""Part → left, top, width, height."""
_LANES = {
    "training": 110, "service": 300, "labelling": 502, "bulk": 680, "engine": 420, "tables": 580,
}  # fmt: skip
"""Where the arrow from a part down to `contract` runs, clear of the boxes between."""
_GAP, _COLUMN, _LINE = 12, 560, 13


def draw_architecture() -> str:
    """The parts and who imports whom; dashed is what passes between running programs."""
    shapes: list[str] = []
    for part, imported in read_parts().items():
        shapes += [_connect(part, each) for each in sorted(imported)]
    for part, (x, y, width, height) in _BOXES.items():
        shapes.append(make_box(x, y, width, height, _FILLS[part]))
        shapes.append(make_text(x + 12, y + 24, f"{part}/", size=16, bold=True))
        columns = int((width - 20) / 5.9)
        shapes += make_paragraph(x + 12, y + 44, describe_room(part), columns=columns)
    shapes += [
        make_arrow((200, 146), (261, 146), dashed=True),
        make_text(231, 138, "checkpoint", size=10, colour=GREY, anchor="middle"),
        make_arrow((492, 146), (443, 146), dashed=True),
        make_text(467, 138, "HTTP", size=10, colour=GREY, anchor="middle"),
    ]
    note = "full arrows: imports, read from the source · dashed: between running programs"
    shapes.append(make_text(20, 508, note, size=11, colour=GREY))
    return make_drawing(850, 522, "The parts of NCAL Serve and what they import", shapes)


def draw_rooms() -> str:
    """The rooms of service and training on their levels; each imports from below alone."""
    shapes: list[str] = []
    lowest = 0.0
    for column, part in enumerate(("service", "training")):
        x, y = 20 + column * (_COLUMN + 30), 44.0
        shapes.append(make_text(x, 28, f"{part}/", size=18, bold=True))
        for level in reversed(order_by_level(read_rooms(part))):
            drawn, height = _draw_level(part, level, x, y)
            shapes += drawn
            y += height + _GAP
        lowest = max(lowest, y)
    note = "each imports only from those below it; with a slash: a folder, without: a module"
    shapes.append(make_text(20, lowest + 12, note, size=11, colour=GREY))
    width = 2 * _COLUMN + 70
    return make_drawing(width, lowest + 26, "The rooms of service and training", shapes)


def _draw_level(part: str, level: list[str], x: float, y: float) -> tuple[list[str], float]:
    """The boxes of a level side by side, and how high they are."""
    width = (_COLUMN - _GAP * (len(level) - 1)) / len(level)
    columns = int((width - 18) / 5.2)
    lines = max(len(wrap(describe_room(part, room), columns)) for room in level)
    height = 28 + lines * _LINE
    shapes: list[str] = []
    for index, room in enumerate(level):
        left = x + index * (width + _GAP)
        is_folder = (ROOT / part / room).is_dir()
        shapes.append(make_box(left, y, width, height, _FILLS[part] if is_folder else "#ffffff"))
        name = f"{room}/" if is_folder else room
        shapes.append(make_text(left + 10, y + 19, name, size=13, bold=True))
        text = describe_room(part, room)
        shapes += make_paragraph(left + 10, y + 34, text, columns=columns, size=10)
    return shapes, height


def _connect(part: str, imported: str) -> str:
    """An arrow from the lower edge of a part to the upper edge of what it imports."""
    x1, y1, width1, height1 = _BOXES[part]
    x2, y2, width2, _ = _BOXES[imported]
    if imported == "contract":
        lane = _LANES[part]
        return make_arrow((lane, y1 + height1), (lane, y2 - 2))
    end = x2 + width2 / 2
    if part == "ncal":
        return make_arrow((end, y1 + height1), (end, y2 - 2))
    start = min(max(end, x1 + 24), x1 + width1 - 24)
    end = min(max(end + (start - end) * 0.35, x2 + 16), x2 + width2 - 16)
    return make_arrow((start, y1 + height1), (end, y2 - 2))
