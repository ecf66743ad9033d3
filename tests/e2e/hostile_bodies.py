"""JSON that is meant to hurt: right or wrong, each body asks for as much work as its bytes can.

A body is a *shape* (many of one thing, one huge thing, deep things) put into a *place* of a
request (an item's field, a batch, a dialogue, a line, a key nobody knows). Counts, sizes and
depths are drawn; the same seed gives the same bodies.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.e2e.malformed_bodies import BATCHES, DIALOGUE, JSON, LINES, SINGLES, STREAMS

PROTOCOLS = ("/v1/systemone", "/classify", "/predict")
"""Of others, one path of each."""

Shape = Callable[[int], bytes]
"""JSON, or nearly, of about so many bytes."""


class Hostile(NamedTuple):
    """A request, and what it is made of."""

    name: str
    path: str
    body: bytes
    media_type: str = JSON


def make_hostile(count: int, *, seed: int, most_bytes: int = 16 * 1024) -> list[Hostile]:
    """Return so many requests, each of up to about `most_bytes`, most of them far smaller."""
    draw = random.Random(seed)
    return [_draw_one(draw, most_bytes) for _ in range(count)]


def make_largest(size: int, patterns: Sequence[str] = (".",)) -> Iterator[Hostile]:
    """Yield each shape once in each place, about `size` bytes large: hundreds of requests.

    Only those whose name matches one of the patterns.
    """
    for name, shape in SHAPES.items():
        for place, paths in PLACES.items():
            for path in _KINDS if place == b"@" else paths[:1]:
                made = _put(place, path, name, b"")
                if any(re.match(pattern, made.name) for pattern in patterns):
                    yield _put(place, path, name, shape(size))


def make_messages(size: int) -> list[tuple[str, bytes]]:
    """Return each shape in each place of a message of a live dialogue."""
    return [
        (f"{name} in {place!r}", place.replace(b"@", shape(size)))
        for name, shape in SHAPES.items()
        for place in _MESSAGE_PLACES
    ]


def _draw_one(draw: random.Random, most_bytes: int) -> Hostile:
    name, shape = draw.choice(list(SHAPES.items()))
    place, paths = draw.choice(list(PLACES.items()))
    size = int(most_bytes ** draw.uniform(0.2, 1.0))
    made = _put(place, draw.choice(paths), name, shape(size))
    if draw.random() < 0.1:
        cut = draw.randrange(len(made.body) + 1)
        made = made._replace(body=made.body[:cut], name=f"{made.name}, cut short")
    return made


def _put(place: bytes, path: str, name: str, value: bytes) -> Hostile:
    body = place.replace(b"@", value)
    media_type = LINES if path in STREAMS else JSON
    return Hostile(f"{name} in {place.decode()} for {path}", path, body, media_type)


def _many(unit: bytes) -> Shape:
    def fill(size: int) -> bytes:
        count = max(1, size // (len(unit) + 1))
        return b"[" + b",".join([unit] * count) + b"]"

    return fill


def _one(unit: bytes, before: bytes = b'"', after: bytes = b'"') -> Shape:
    return lambda size: before + unit * max(1, size // len(unit)) + after


def _names(size: int) -> bytes:
    """An object of many different names."""
    count = max(1, size // 11)
    return b"{" + b",".join(b'"%x":0' % number for number in range(count)) + b"}"


def _same_names(size: int) -> bytes:
    return b"{" + b",".join([b'"a":0'] * max(1, size // 6)) + b"}"


def _levels(opening: bytes, closing: bytes, most: int) -> Shape:
    def fill(size: int) -> bytes:
        count = min(most, max(1, size // (len(opening) + len(closing))))
        return opening * count + b"0" + closing * count

    return fill


def _towers(size: int) -> bytes:
    """Many that are deep: each as deep as a parser takes."""
    tower = b"[" * 1000 + b"]" * 1000
    return b"[" + b",".join([tower] * max(1, size // (len(tower) + 1))) + b"]"


SHAPES: dict[str, Shape] = {
    "zeros": _many(b"0"),
    "big integers": _many(b"18446744073709551615"),
    "floats": _many(b"1.5"),
    "exponents": _many(b"1e999999"),
    "constants": _many(b"null"),
    "empty texts": _many(b'""'),
    "texts of one character": _many('"中"'.encode()),
    "empty lists": _many(b"[]"),
    "empty objects": _many(b"{}"),
    "lists of lists": _many(b"[[],[]]"),
    "small objects": _many(b'{"a":0}'),
    "turns": _many(b'{"speaker":"teacher","text":"a"}'),
    "wrong turns": _many(b'{"speaker":0,"text":0,"x":0}'),
    "items": _many(b'{"text":"a"}'),
    "items with names": _many(b'{"text":"a","id":"a"}'),
    "long turns": _many(b'{"speaker":"student","text":"%s"}' % ("a" * 19_000 + "😀").encode()),
    "long items": _many(b'{"text":"%s"}' % ("a b." * 4_700 + "😀").encode()),
    "texts": _many(b'"one and two"'),
    "long texts": _many(b'"%s"' % ("a b." * 4_700 + "😀").encode()),
    "lists of one text": _many(b'["a"]'),
    "2,000 items": lambda size: _many(b'{"text":"a"}')(2000 * 13),
    "2,000 turns": lambda size: _many(b'{"speaker":"teacher","text":"a"}')(2000 * 33),
    "2,000 wrong items": lambda size: _many(b"0")(2000 * 2),
    "turns in their turns": _many(
        b'{"speaker":"teacher","text":"a","previous":['
        + b",".join([b'{"speaker":"teacher","text":"a"}'] * 64)
        + b"]}"
    ),
    "wide turn": lambda size: b'[{"speaker":"teacher","text":"a",' + _names(size)[1:] + b"]",
    "names": _names,
    "same names": _same_names,
    "deep lists": _levels(b"[", b"]", 10**7),
    "deep objects": _levels(b'{"a":', b"}", 10**7),
    "as deep as allowed": _levels(b"[", b"]", 8),
    "towers": _towers,
    "one digit string": _one(b"9", b"", b""),
    "numbers of 100,000 digits": _many(b"9" * 100_000),
    "long fraction": _one(b"3", b"0.", b""),
    "long text": _one(b"a"),
    "long text, wide": lambda size: b'"' + b"a" * size + "😀".encode() + b'"',
    "escapes": _one(b"\\u4e2d"),
    "escaped pairs": _one(b"\\ud83d\\ude00"),
    "escaped quotes": _one(b'\\"'),
    "backslashes": _one(b"\\\\"),
    "quotes": _one(b'"'),
    "spaces": _one(b" ", b"", b"0"),
    "line breaks": _one(b"\n", b"", b"0"),
    "blank text": _one(b" "),
    "commas": _one(b",", b"[", b"]"),
    "colons": _one(b":", b"{", b"}"),
    "openings": _one(b"[{", b"", b""),
    "noise": lambda size: random.Random(size).randbytes(size),
}  # fmt: skip

_TURN = b'{"speaker":"teacher","text":"a"'
_QUESTIONS = b'{"a":{"type":"noul","criteria":"recall"}}}'
_KINDS = (SINGLES[0], BATCHES[0], DIALOGUE, STREAMS[0], *PROTOCOLS)
"""A path of each kind, for what is no form of any of them."""
PLACES: dict[bytes, Sequence[str]] = {
    b"@": (*SINGLES, *BATCHES, DIALOGUE, *STREAMS, *PROTOCOLS),
    b'{"text":@}': ("/classify/problem", "/classify/problem/stream"),
    b'{"text":"a","x":@}': ("/classify/problem", "/classify/problem/stream"),
    b'{"text":"a","id":@}': ("/classify/problem/stream", "/classify/problem"),
    _TURN + b',"previous":@}': ("/classify/dialogue-turn", "/classify/dialogue-turn/stream"),
    _TURN + b',"following":@}': ("/classify/dialogue-turn", "/classify/dialogue-turn/stream"),
    _TURN + b',"previous":[' + _TURN + b',"x":@}]}': ("/classify/dialogue-turn",),
    _TURN + b',"previous":[@,0]}': ("/classify/dialogue-turn",),
    b'{"items":@}': BATCHES,
    b'{"items":[@]}': BATCHES,
    b'{"items":[{"text":"a"}],"x":@}': BATCHES,
    b'{"items":[' + _TURN + b',"previous":@}]}': BATCHES[1:2],
    b'{"turns":@}': (DIALOGUE,),
    b'{"turns":[@]}': (DIALOGUE,),
    b'{"turns":[' + _TURN + b',"x":@}]}': (DIALOGUE,),
    b'{"turns":[' + _TURN + b'}],"mode":@}': (DIALOGUE,),
    b'{"text":"a"}\n@\n{"text":"a"}': STREAMS[:1],
    b'{"input":@}': ("/classify", "/v1/classify"),
    b'{"input":[@]}': ("/classify",),
    b'{"messages":@}': ("/classify",),
    b'{"inputs":@}': ("/predict",),
    b'{"state":@,"questions":' + _QUESTIONS: ("/v1/systemone",),
    b'{"state":"a","questions":@}': ("/v1/systemone",),
    b'{"state":"a","questions":{"a":{"type":"noul","instructions":@}}}': ("/v1/systemone",),
    b'{"state":"a","questions":{"a":{"type":"choice","criteria":@}}}': ("/v1/systemone",),
}
_MESSAGE_PLACES = (
    b"@",
    b'{"type":@}',
    b'{"type":"turn","speaker":"teacher","text":@}',
    b'{"type":"turn","speaker":"teacher","text":"a","id":@}',
    b'{"type":"turn","speaker":"teacher","text":"a","x":@}',
    b'{"type":"resume","index":@}',
    b'{"type":"resume","index":9,"previous":@}',
    b'{"type":"ping","x":@}',
)
