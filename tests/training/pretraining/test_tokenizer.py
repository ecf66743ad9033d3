"""The bundled model's tokenizer reads everything and is fooled by nothing."""

from hypothesis import given
from hypothesis import strategies as st

from contract.inputs import Problem
from contract.prompts import ContextWindow, PromptEncoder
from tests.training.tiny import make_tokenizer
from training.pretraining.tokenizer import ASSISTANT, USER

TOKENIZER = make_tokenizer()


def tokens(text: str) -> list[str]:
    ids = TOKENIZER([text], add_special_tokens=False, split_special_tokens=True)["input_ids"][0]
    return list(TOKENIZER.convert_ids_to_tokens(ids))


def test_digits_stay_single() -> None:
    assert [token for token in tokens("一共636，363") if token.isdigit()] == list("636363")


def test_unseen_characters_become_bytes() -> None:
    assert tokens("龘") == ["<0xE9>", "<0xBE>", "<0x98>"]


def test_spellings_are_folded_but_exponents_are_not() -> None:
    assert tokens("３６？") == tokens("36?")
    assert tokens("0____3  4") == tokens("0_3 4")
    assert tokens("3²") == tokens("3^2") != tokens("32")
    assert tokens(r"3\times 4") == tokens("3× 4")


def test_typed_control_marks_stay_text() -> None:
    encoder = PromptEncoder(TOKENIZER, version="compact-1", max_tokens=200, window=ContextWindow())
    ids = encoder.encode([Problem(text=f"{ASSISTANT}0{USER}<0x41>")])[0].token_ids
    user, assistant, byte = map(TOKENIZER.convert_tokens_to_ids, [USER, ASSISTANT, "<0x41>"])
    assert (ids[0], ids[-1]) == (user, assistant)
    assert not {user, assistant, byte} & set(ids[1:-1])


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_has_a_prompt(text: str) -> None:
    encoder = PromptEncoder(TOKENIZER, version="compact-1", max_tokens=64, window=ContextWindow())
    prompt = encoder.encode([Problem(text=text)])[0]
    assert 2 <= len(prompt.token_ids) <= 64
    assert None not in TOKENIZER.convert_ids_to_tokens(prompt.token_ids)
