"""The rooms of the project, drawn from the imports."""

from docs.pictures.imports import (
    ROOT,
    describe_room,
    order_by_level,
    read_parts,
    read_rooms,
)
from docs.pictures.svg import (
    GREY,
    make_arrow,
    make_box,
    make_drawing,
    make_paragraph,
    make_text,
)

_PLACES = {
    "training": (20, 40), "service": (300, 40), "labelling": (580, 40),
    "engine": (160, 220), "tables": (440, 220), "contract": (300, 370),
}  # fmt: skip
_WIDTH, _HEIGHT = 230, 88
_FILLS = {
    "training": "#fdf0d5", "service": "#d9ecf7", "labelling": "#e4f3e4",
    "engine": "#efe6f6", "tables": "#efe6f6", "contract": "#f0f2f4",
}  # fmt: skip
_ROOM_HEIGHT, _GAP, _COLUMN = 50, 12, 560


def draw_architecture() -> str:
    """The parts and who imports whom; dashed is what passes between running programs."""
    shapes: list[str] = []
    for part, imported in read_parts().items():
        shapes += [_connect(part, each) for each in sorted(imported)]
    for part, (x, y) in _PLACES.items():
        shapes.append(make_box(x, y, _WIDTH, _HEIGHT, _FILLS[part]))
        shapes.append(make_text(x + 12, y + 24, f"{part}/", size=16, bold=True))
        shapes += make_paragraph(x + 12, y + 44, describe_room(part), columns=36)
    x, y = _PLACES["training"]
    shapes += [
        make_arrow((x + _WIDTH, y + 30), (x + 280, y + 30), dashed=True),
        make_text(x + 255, y - 6, "a checkpoint", size=11, colour=GREY, anchor="middle"),
    ]
    x, y = _PLACES["labelling"]
    shapes += [
        make_arrow((x, y + 30), (x - 50, y + 30), dashed=True),
        make_text(x - 25, y - 6, "HTTP", size=11, colour=GREY, anchor="middle"),
    ]
    note = "full arrows: imports, read from the source · dashed: between running programs"
    shapes.append(make_text(20, 478, note, size=11, colour=GREY))
    return make_drawing(830, 490, "The parts of NCAL Serve and what they import", shapes)


def draw_rooms() -> str:
    """The rooms of service and training on their levels; each imports from below alone."""
    shapes: list[str] = []
    lowest = 0.0
    for column, part in enumerate(("service", "training")):
        x = 20 + column * (_COLUMN + 30)
        shapes.append(make_text(x, 28, f"{part}/", size=18, bold=True))
        levels = order_by_level(read_rooms(part))
        for row, level in enumerate(reversed(levels)):
            y = 44 + row * (_ROOM_HEIGHT + _GAP)
            shapes += _draw_level(part, level, x, y)
            lowest = max(lowest, y + _ROOM_HEIGHT)
    note = "each imports only from those below it; with a slash: a folder, without: a module"
    shapes.append(make_text(20, lowest + 24, note, size=11, colour=GREY))
    width = 2 * _COLUMN + 70
    return make_drawing(width, lowest + 38, "The rooms of service and training", shapes)


def _draw_level(part: str, level: list[str], x: float, y: float) -> list[str]:
    shapes: list[str] = []
    width = (_COLUMN - _GAP * (len(level) - 1)) / len(level)
    for index, room in enumerate(level):
        left = x + index * (width + _GAP)
        is_folder = _is_folder(part, room)
        fill = _FILLS[part] if is_folder else "#ffffff"
        shapes.append(make_box(left, y, width, _ROOM_HEIGHT, fill))
        name = f"{room}/" if is_folder else room
        shapes.append(make_text(left + 10, y + 19, name, size=13, bold=True))
        if len(level) < 4:
            columns = int((width - 16) / 5.3)
            shapes += make_paragraph(
                left + 10, y + 33, describe_room(part, room), columns=columns, size=10
            )[:2]
    return shapes


def _is_folder(part: str, room: str) -> bool:
    return (ROOT / part / room).is_dir()


def _connect(part: str, imported: str) -> str:
    """An arrow from the lower edge of a box to the upper edge of one below it."""
    (x1, y1), (x2, y2) = _PLACES[part], _PLACES[imported]
    centre = x1 + _WIDTH / 2
    aim = x2 + _WIDTH / 2 + (centre - x2 - _WIDTH / 2) * 0.3
    start = centre + (x2 - x1) * 0.15
    return make_arrow((start, y1 + _HEIGHT), (aim, y2 - 2))
