"""What a typed line is: a problem, or a turn with the turns around it."""

import pytest

from contract.prompts import ContextWindow
from labelling.conversation import Asked, Conversation, LineError

WINDOW = ContextWindow(1, 1)


def turn(speaker: str, text: str) -> dict[str, str]:
    return {"speaker": speaker, "text": text}


def test_turns_are_asked_with_what_was_said_around_them() -> None:
    talk = Conversation(WINDOW)
    assert talk.read("师：八分之六？") == Asked(
        "dialogue-turn", [{**turn("teacher", "八分之六？"), "previous": [], "following": []}]
    )
    asked = talk.read("Maya: 四分之三")
    assert asked is not None
    assert asked.items == [
        {**turn("teacher", "八分之六？"), "previous": [],
         "following": [turn("student", "四分之三")]},
        {**turn("student", "四分之三"), "previous": [turn("teacher", "八分之六？")],
         "following": []},
    ]  # fmt: skip
    assert talk.read("  ") is None
    assert talk.read("Maya: 四分之三") == Asked("problem", [{"text": "Maya: 四分之三"}])


def test_other_lines_are_problems() -> None:
    talk = Conversation(WINDOW)
    for line in ("一加一等于多少？", "解方程：3x = 6", "3:4 = 6:x"):
        assert talk.read(line) == Asked("problem", [{"text": line}])
    only = Conversation(WINDOW, "problem")
    assert only.read("T: what?") == Asked("problem", [{"text": "T: what?"}])


def test_lines_that_cannot_be_asked_say_what_to_type() -> None:
    talk = Conversation(WINDOW, "dialogue-turn")
    with pytest.raises(LineError, match="say who speaks"):
        talk.read("一加一")
    with pytest.raises(LineError, match="T says nothing"):
        talk.read("T:")
