"""A few shapes of SVG: enough for boxes, text, bars and arrows."""

import textwrap
from collections.abc import Iterable
from xml.sax.saxutils import escape

INK, GREY, LINE = "#1f2933", "#5f6c7b", "#9aa5b1"
_FONT = (
    "font-family=\"'Helvetica Neue', Arial, 'Noto Sans CJK SC', 'WenQuanYi Zen Hei', sans-serif\""
)
_ARROW = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker>'
)


def make_drawing(width: float, height: float, title: str, shapes: Iterable[str]) -> str:
    """A whole SVG file with a white ground, so that it reads on dark pages too."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" {_FONT}>\n<title>{escape(title)}</title>\n'
        f"<defs>{_ARROW}</defs>\n"
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def make_box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" '
        f'stroke="{LINE}"/>'
    )


def make_bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="2" fill="{fill}"/>'
    )


def make_text(
    x: float, y: float, text: str, *, size: float = 12, bold: bool = False, colour: str = INK,
    anchor: str = "start",
) -> str:  # fmt: skip
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{weight} fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def make_paragraph(x: float, y: float, text: str, *, columns: int, size: float = 11) -> list[str]:
    """Lines of at most so many characters, one under the other."""
    return [
        make_text(x, y + index * size * 1.3, line, size=size, colour=GREY)
        for index, line in enumerate(wrap(text, columns))
    ]


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most so many characters; no marks of code."""
    return textwrap.wrap(text.replace("`", ""), columns)


def make_arrow(
    start: tuple[float, float], end: tuple[float, float], *, dashed: bool = False
) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{GREY}" '
        f'stroke-width="1.4"{dashes} marker-end="url(#arrow)"/>'
    )
