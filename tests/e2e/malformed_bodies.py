"""Bodies that are wrong, each in one of many ways; the same for the same seed."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SECRET = "欧阳小菲昨天没睡好"
"""In every text: no answer and no log may repeat it."""

JSON = "application/json"
LINES = "application/x-ndjson"
SINGLES = ("/classify/problem", "/classify/dialogue-turn", "/classify/tasks/timss")
BATCHES = tuple(path + "/batch" for path in SINGLES)
STREAMS = tuple(path + "/stream" for path in SINGLES)
DIALOGUE = "/classify/dialogue"
INVALID, TOO_LARGE, WRONG_TYPE, ANSWERED = 422, 413, 415, 200


class Malformed(NamedTuple):
    """A request whose body is wrong, and the status that says so."""

    path: str
    body: bytes
    status: int = INVALID
    media_type: str = JSON


def make_malformed(count: int, *, seed: int) -> list[Malformed]:
    """Return so many requests, large ones more rarely."""
    draw = random.Random(seed)
    weights = [1 if way in _LARGE else 5 for way in _WAYS]
    return [way(draw) for way in draw.choices(_WAYS, weights, k=count)]


def _cut_short(draw: random.Random) -> Malformed:
    body = _dump(_good_item(draw))
    return Malformed(draw.choice(SINGLES), body[: draw.randrange(len(body))])


def _noise(draw: random.Random) -> Malformed:
    body = b"\xff" + draw.randbytes(draw.randrange(200))
    return Malformed(draw.choice((*SINGLES, *BATCHES, DIALOGUE)), body)


def _bad_encoding(draw: random.Random) -> Malformed:
    body = _dump({"text": SECRET})
    place = body.index(SECRET.encode()) + draw.randrange(len(SECRET.encode()))
    return Malformed(draw.choice(SINGLES), body[:place] + b"\xc0" + body[place + 1 :])


def _lone_surrogate(draw: random.Random) -> Malformed:
    return Malformed(draw.choice(SINGLES), b'{"text": "\\ud83d' + SECRET.encode() + b'"}')


def _not_json(draw: random.Random) -> Malformed:
    text = json.dumps(SECRET)
    bodies = (
        "", " ", "NaN", "{'text': 1}", "[1,]", "{,}", "\ufeff{}", '{"text": Infinity}', "01",
        f'{{"text": {text}}} {{"text": {text}}}', f'{{"text": {text},}}', f"<text>{SECRET}</text>",
    )  # fmt: skip
    return Malformed(draw.choice((*SINGLES, *BATCHES, DIALOGUE)), draw.choice(bodies).encode())


def _wrong_whole(draw: random.Random) -> Malformed:
    whole = draw.choice((None, True, 0, -1.5, 1e300, SECRET, [], [SECRET], {}, [[]], {"": {}}))
    return Malformed(draw.choice((*SINGLES, *BATCHES, DIALOGUE)), _dump(whole))


def _wrong_field(draw: random.Random) -> Malformed:
    item = _good_item(draw)
    item["text"] = draw.choice((None, 5, True, [SECRET], {"text": SECRET}, "", " \n\t", 10**400))
    return Malformed(draw.choice(SINGLES), _dump(item))


def _unknown_field(draw: random.Random) -> Malformed:
    item = _good_item(draw) | {draw.choice(("Id", "Text", "", "__proto__", SECRET)): SECRET}
    return Malformed("/classify/dialogue-turn", _dump(item))


def _wrong_turn(draw: random.Random) -> Malformed:
    wrong: Sequence[dict[str, Any]] = (
        {"speaker": SECRET}, {"speaker": None}, {"previous": {}}, {"previous": [SECRET]},
        {"following": [{"speaker": "teacher"}]}, {"following": None}, {"previous": [[]]},
        {"previous": [{"speaker": "teacher", "text": SECRET}] * 65},
    )  # fmt: skip
    return Malformed("/classify/dialogue-turn", _dump(_good_turn(draw) | draw.choice(wrong)))


def _too_deep(draw: random.Random) -> Malformed:
    levels = draw.choice((17, 40, 1000, 50_000))
    opening, closing = draw.choice((("[", "]"), ('{"text":', "}")))
    body = opening * levels + json.dumps(SECRET) + closing * levels
    return Malformed(draw.choice((*SINGLES, *BATCHES, DIALOGUE)), body.encode())


def _too_long(draw: random.Random) -> Malformed:
    return Malformed("/classify/problem", _dump({"text": SECRET * draw.randint(2300, 3000)}))


def _wrong_media_type(draw: random.Random) -> Malformed:
    media_type = draw.choice(("", "text/plain", "application/xml", "json", LINES, "\xff\xfe"))
    path = draw.choice((*SINGLES, *BATCHES, DIALOGUE))
    return Malformed(path, _dump(_good_item(draw)), WRONG_TYPE, media_type)


def _no_batch(draw: random.Random) -> Malformed:
    items = draw.choice((None, {}, SECRET, 1, [], [{"text": "好"}] * 2049))
    return Malformed(draw.choice(BATCHES), _dump({"items": items}))


def _batch_beside_itself(draw: random.Random) -> Malformed:
    return Malformed(draw.choice(BATCHES), _dump({"items": [{"text": "好"}], SECRET: 1}))


def _batch_of_wrong_items(draw: random.Random) -> Malformed:
    items = [_wrong_item(draw) for _ in range(draw.randint(1, 20))]
    return Malformed(draw.choice(BATCHES), _dump({"items": items}), ANSWERED)


def _stream_of_wrong_lines(draw: random.Random) -> Malformed:
    lines = [_dump(_wrong_item(draw)) for _ in range(draw.randint(1, 10))]
    lines += [b"{" + SECRET.encode(), b"\xff\x00", b"[" * 300]
    draw.shuffle(lines)
    return Malformed(draw.choice(STREAMS), b"\n".join(lines), ANSWERED, LINES)


def _wrong_dialogue(draw: random.Random) -> Malformed:
    turn = {"speaker": "student", "text": SECRET}
    dialogue = draw.choice(
        (
            {"turns": []}, {"turns": turn}, {"turns": [turn, SECRET]}, {"turns": [turn | {"x": 1}]},
            {"turns": [turn], "mode": SECRET}, {"turns": [turn | {"id": [SECRET]}]},
            {"turns": [turn] * 2001}, {"turns": [turn | {"id": True}]}, {"turns": [turn], "x": 0},
        )
    )  # fmt: skip
    return Malformed(DIALOGUE, _dump(dialogue))


def _wrong_options(draw: random.Random) -> Malformed:
    query = draw.choice(
        ("prior=x", "top_k=0", "top_k=-1", "top_k=1e9", "raw_logits=x", "x=1", "top_k=1&top_k=x")
    )
    return Malformed(f"/classify/problem?{query}", _dump({"text": SECRET}))


_WAYS: tuple[Callable[[random.Random], Malformed], ...] = (
    _cut_short, _noise, _bad_encoding, _lone_surrogate, _not_json, _wrong_whole, _wrong_field,
    _unknown_field, _wrong_turn, _too_deep, _too_long, _wrong_media_type, _no_batch,
    _batch_beside_itself, _batch_of_wrong_items, _stream_of_wrong_lines, _wrong_dialogue,
    _wrong_options,
)  # fmt: skip

_LARGE = (_too_deep, _too_long, _no_batch, _wrong_dialogue)


def _wrong_item(draw: random.Random) -> Any:
    return draw.choice(
        (None, SECRET, 7, [], {}, {"text": None}, {"text": ""}, {"text": SECRET, "x": 1},
         {"id": [1], "text": SECRET}, {"id": 1.5, "text": SECRET}, {"speaker": 1})
    )  # fmt: skip


def _good_turn(draw: random.Random) -> dict[str, Any]:
    return {"speaker": draw.choice(("teacher", "student")), "text": SECRET}


def _good_item(draw: random.Random) -> dict[str, Any]:
    return _good_turn(draw) if draw.random() < 0.5 else {"text": SECRET}


def _dump(value: Any) -> bytes:
    """As strange clients write it: escapes or not, and whole numbers of any size."""
    return json.dumps(value, ensure_ascii=False).encode()
