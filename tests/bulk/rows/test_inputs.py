"""Rows become turns of dialogues: who speaks, what is no turn, and what stands around."""

from bulk.rows.columns import Columns
from bulk.rows.inputs import NO_SPEAKER, NO_TEXT, Inputs, make_problems, make_turns
from contract.prompts import ContextWindow
from tables.speakers import SPEAKERS
from tests.bulk.fake_labelling import TURNS, make_batch


def turns(dialogue: list[str | None], speaker: list[str | None], text: list[str]) -> Inputs:
    return make_turns(
        make_batch(dialogue=dialogue, speaker=speaker, text=text),
        TURNS,
        speakers=SPEAKERS,
        window=ContextWindow(1, 1),
        mode="retrospective",
    )


def test_everybody_beside_the_teacher_is_a_pupil_of_that_dialogue_alone() -> None:
    found = turns(["a", "a", "b"], ["老师", "明明", "明明"], ["几？", "七。", "八。"])
    assert [item.model_dump()["speaker"] for item in found.items] == ["teacher", "student"]
    assert found.errors == [None, None, NO_SPEAKER]


def test_what_is_no_turn_does_not_stand_between_its_neighbours() -> None:
    found = turns(["a"] * 4, ["T", "S", None, "S"], ["几？", " ", "哦", "七。"])
    assert found.errors == [None, NO_TEXT, NO_SPEAKER, None]
    first, last = (item.model_dump() for item in found.items)
    assert first["following"][0]["text"] == "七。" and last["previous"][0]["text"] == "几？"


def test_a_row_that_names_no_dialogue_stands_alone() -> None:
    found = turns([None, None], ["T", "S"], ["几？", "七。"])
    assert [item.model_dump()["previous"] for item in found.items] == [(), ()]


def test_cells_that_are_no_texts_are_spelled() -> None:
    found = make_problems(make_batch(text=[12, None]), Columns("text"))
    assert [item.text for item in found.items] == ["12"]
    assert found.errors == [None, NO_TEXT]
