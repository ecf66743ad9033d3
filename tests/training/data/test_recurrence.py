"""Recurring texts are found whatever their punctuation, and only those."""

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from training.data.recurrence import find_recurring, normalize_text


def test_texts_are_compared_by_letters_and_digits() -> None:
    assert normalize_text("１２ + 3＝？ Ａb，三角形") == "123Ab三角形"
    assert normalize_text("？！") == "？！" != normalize_text("。")


def test_an_item_recurs_by_its_own_text() -> None:
    context = (Turn(speaker="teacher", text="三加四等于几"),)
    training: list[AnyInput] = [
        Problem(text="3＋4=？"),
        DialogueTurn(speaker="student", text="七。"),
    ]
    items: list[AnyInput] = [
        Problem(text="3+4 = ?"),
        Problem(text="3+5=?"),
        DialogueTurn(speaker="teacher", text="七", previous=context),
        DialogueTurn(speaker="teacher", text="八", previous=context),
    ]
    assert find_recurring(items, training).tolist() == [True, False, True, False]
    assert find_recurring([], training).shape == (0,)
