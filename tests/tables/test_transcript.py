"""Plain transcripts: a turn a line, names as people write them."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.errors import FileError
from tables.files import open_table, write_rows
from tables.transcript import split_turn

NAME = st.text(st.characters(categories=["L"]), min_size=1, max_size=6)
SAID = st.text(
    st.characters(categories=["L", "N", "Zs"], include_characters="，。？!?=+-"), max_size=12
).map(str.strip)


@pytest.mark.parametrize(
    ("line", "turn"),
    [
        ("师：三加四等于多少？", ("师", "三加四等于多少？")),
        ("T: What is 3:4?", ("T", "What is 3:4?")),
        ("[00:01:12] Ms. Li : Good.", ("Ms. Li", "Good.")),
        ("王老师:好", ("王老师", "好")),
        ("S1:", ("S1", "")),
        ("Ms  Li \t : Good", ("Ms  Li", "Good")),
        (f"{'n' * 40}: x", ("n" * 40, "x")),
        (f"{'n' * 41}: x", None),
        (f"a{' ' * 200_000}b: x", None),
        ("3:4 is a ratio", None),
        ("look at https://example.org", None),
        ("and so on", None),
    ],
)
def test_a_turn_begins_with_who_says_it(line: str, turn: tuple[str, str] | None) -> None:
    assert split_turn(line) == turn


@settings(max_examples=40)
@given(st.lists(st.tuples(NAME, SAID), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_any_transcript_comes_back_with_notes_that_are_not_read(
    turns: list[tuple[str, str]], end: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "a.txt"), Path(folder, "out.txt")
        content = end.join(f"{name}：{said}" for name, said in turns) + end
        path.write_bytes(content.encode())
        table = open_table(path)
        assert [tuple(row.cells) for row in table.rows()] == turns
        pairs = ((row, ["I-Q", 0.5]) for row in table.rows())
        table.write(output, ["label", "p"], pairs)
        assert [tuple(row.cells) for row in open_table(output).rows()] == turns
        written = output.read_bytes().decode()
        assert written.replace("\t[label: I-Q; p: 0.5]", "") == content.replace(f" {end}", end)


def test_lines_without_a_name_go_on_with_the_turn(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\nT: one\ntwo\n\nS: three\n", encoding="utf-16")
    table = open_table(path)
    assert [(row.line, row.cells) for row in table.rows()] == [
        (3, ["T", "one\ntwo"]), (6, ["S", "three"]),
    ]  # fmt: skip
    table.write(tmp_path / "out.txt", ["l"], ((row, ["x"]) for row in table.rows()))
    written = (tmp_path / "out.txt").read_text(encoding="utf-16")
    assert written == "\n\nT: one\ntwo\t[l: x]\n\nS: three\t[l: x]\n"


def test_what_is_no_transcript_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content, message in [("", "is empty"), ("\nonce upon a time\n", "a.txt:2: no speaker")]:
        path.write_text(content)
        with pytest.raises(FileError, match=message):
            open_table(path)
    with pytest.raises(FileError, match="the columns speaker and text"):
        write_rows(path, "transcript", ["text"], [["a"]])
