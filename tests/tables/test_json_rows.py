"""JSON lines and arrays: every byte of an object stays, our fields stand before its last brace."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.errors import FileError
from tables.files import open_table

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
OBJECT = st.dictionaries(st.text(max_size=4).filter(lambda name: name != "added"), VALUE)


def add_column(path: Path, content: str, values: list[Any]) -> str:
    path.write_bytes(content.encode())
    table = open_table(path)
    output = path.with_name("out")
    table.write(output, ["added"], ((r, [v]) for r, v in zip(table.rows(), values, strict=True)))
    return output.read_bytes().decode()


@settings(max_examples=40)
@given(st.lists(OBJECT, min_size=1, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_any_objects_come_back_with_one_more_field(
    rows: list[dict[str, Any]], indent: int | None, is_array: bool
) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    content = json.dumps(rows, indent=indent) if is_array else lines + "\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json" if is_array else "a.jsonl")
        written = add_column(path, content, list(range(len(rows))))
    # Not splitlines, which also parts at separators within a text.
    read = json.loads(written) if is_array else [*map(json.loads, written.split("\n")[:-1])]
    assert read == [{**row, "added": number} for number, row in enumerate(rows)]


def test_numbers_spaces_and_line_breaks_stay(tmp_path: Path) -> None:
    lines = '{"n": 1.50, "big":123456789012345678901}\r\n\r\n{ }\r\n{"text":"一\u2028二"}'
    assert add_column(tmp_path / "a.jsonl", lines, [1, None, "x"]) == (
        '{"n": 1.50, "big":123456789012345678901, "added": 1}\r\n{"added": null }\r\n'
        '{"text":"一\u2028二", "added": "x"}'
    )
    array = '\n[ {"n": 1e3\n } ,\n{"n":2}\n]\n'
    assert add_column(tmp_path / "a.json", array, [True, 0.5]) == (
        '\n[ {"n": 1e3, "added": true\n } ,\n{"n":2, "added": 0.5}\n]\n'
    )


def test_the_header_has_the_fields_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"b": 2, "a": 3}\n')
    table = open_table(path)
    assert table.header == ("a", "b")
    assert [row.cells for row in table.rows()] == [[1, None], [3, 2]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a"\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: must be a JSON object"),
        ("a.jsonl", '{"a": ' + "[" * 100_000 + "\n", "nested or long beyond use"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}\n", "nested or long beyond use"),
        ("a.jsonl", "\n", "has no rows"),
        ("a.json", '{"a": 1}', "must be an array of objects"),
        ("a.json", '[{"a": 1},\n7]', "a.json:2: must be a JSON object"),
        ("a.json", '[{"a": 1}\n{"a": 2}]', "a comma is missing"),
        ("a.json", '[{"a": 1}', "a comma is missing"),
        ("a.json", '[{"a": 1},', "its end is missing"),
        ("a.json", "[]", "has no rows"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(FileError) as error:
        open_table(path)
    assert message in str(error.value)
