"""What a body holds is counted from its bytes, whatever the parts they come in."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.http.json_bounds import JsonBounds
from service.settings import Settings
from tests.service.fake_service import run_fake_service

TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
USUAL = Settings()
SHORT = Settings(max_text_characters=10)
MARKS = st.text(alphabet='"\\,:[]{}n u0041中😀', max_size=8)
json_values = st.recursive(
    st.none() | st.integers() | MARKS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MARKS, inner, max_size=4),
    max_leaves=20,
)


def is_taken(parts: list[bytes], most: int, settings: Settings = USUAL) -> bool:
    bounds = JsonBounds(settings, most)
    try:
        for part in parts:
            bounds.feed(part)
    except InvalidInput:
        return False
    return True


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@given(json_values, st.lists(st.integers(0, 1000), max_size=6), st.booleans())
def test_the_count_is_that_of_what_stands_outside_texts(
    value: object, places: list[int], as_ascii: bool
) -> None:
    text = json.dumps(value, ensure_ascii=as_ascii)
    count = sum(TEXT.sub("", text).count(mark) for mark in ",:[{")
    parts = cut(text.encode(), places)
    assert is_taken(parts, count)
    assert count == 0 or not is_taken(parts, count - 1)


@given(st.integers(0, 40), st.lists(st.integers(0, 1000), max_size=6), st.booleans())
def test_a_text_is_measured_across_parts(length: int, places: list[int], as_ascii: bool) -> None:
    """By its bytes: what any text within the limit may take is let through."""
    body = json.dumps(["a", "😀" * length, "b"], ensure_ascii=as_ascii).encode()
    size = length * (12 if as_ascii else 4)
    assert is_taken(cut(body, places), 10, SHORT) == (size <= 120)


def test_texts_without_commas_are_counted_too() -> None:
    assert not is_taken([b'""' * 50], 40)
    assert not is_taken([b'"'] * 100, 40)


@pytest.mark.parametrize(
    ("path", "body", "field", "reason"),
    [
        ("dialogue-turn", {"previous": [0] * 100}, "previous", "has more than 64 turns"),
        ("dialogue-turn", {"previous": [0] * 5000}, "body", "names and values"),
        ("dialogue-turn", {f"x{n}": 0 for n in range(99)}, "body", "has an unknown field"),
        ("dialogue-turn", {"previous": [{"x": 0}] * 64}, "previous.0.speaker", "required"),
        ("problem", {"text": "a" * 250_000}, "body", "more than 20000 characters"),
        ("dialogue", {"turns": [0] * 2001}, "turns", "has more than 2000 turns"),
        ("dialogue", {"turns": [0] * 2000}, "turns.19", "instance of SpokenTurn"),
        ("dialogue", {"turns": [{str(n): 0 for n in range(9000)}]}, "turns.0", "unknown field"),
        ("dialogue", {"turns": [0] * 150_000}, "body", "names and values"),
    ],
)
async def test_too_much_is_explained_in_few_words(
    path: str, body: dict[str, object], field: str, reason: str
) -> None:
    async with run_fake_service() as service:
        response = await service.client.post(f"/classify/{path}", json=body)
    assert response.status_code == 422
    assert len(response.content) < 4096
    reasons = {each["field"]: each["reason"] for each in response.json()["errors"]}
    assert reason in reasons[field]
