"""Golden prompts: a change here is a new prompt version, or training and serving drift."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.inputs import AnyInput, DialogueTurn, Problem, Turn
from contract.prompts import ContextWindow, PromptEncoder, PromptVersion, format_message
from tests.contract.characters import CharacterTokenizer

PROBLEM = Problem(text="小明有3支铅笔，又买了5支，一共有几支？")
TURN = DialogueTurn(
    speaker="student",
    text="八支。",
    previous=(Turn(speaker="student", text="嗯"), Turn(speaker="teacher", text="一共几支？")),
    following=(Turn(speaker="teacher", text="很好。"), Turn(speaker="student", text="谢谢")),
)


def encode(
    item: AnyInput,
    version: PromptVersion = "compact-1",
    *,
    max_tokens: int = 200,
    window: ContextWindow | None = None,
    tokenizer: Any = None,
) -> tuple[str, bool]:
    tokenizer = tokenizer or CharacterTokenizer()
    encoder = PromptEncoder(
        tokenizer, version=version, max_tokens=max_tokens, window=window or ContextWindow()
    )
    prompt = encoder.encode([item])[0]
    assert len(prompt.token_ids) <= max_tokens
    return tokenizer.decode(prompt.token_ids), prompt.was_cut


@pytest.mark.parametrize(
    ("item", "version", "expected"),
    [
        (PROBLEM, "compact-1", "<user>小明有3支铅笔，又买了5支，一共有几支？<reply>"),
        (TURN, "compact-1", "<user>师：一共几支？\n下文师：很好。\n本句生：八支。<reply>"),
        (
            PROBLEM,
            "instruct-1",
            "<user>判断这道小学数学题主要考查的认知维度。题目：\n"
            "小明有3支铅笔，又买了5支，一共有几支？<reply>",
        ),
        (
            TURN,
            "instruct-1",
            "<user>下面是数学辅导对话的片段。判断“本句”在课堂互动中的作用。\n"
            "上文 老师：一共几支？\n下文 老师：很好。\n本句 学生：八支。<reply>",
        ),
    ],
)
def test_prompts_are_as_they_were_trained(
    item: AnyInput, version: PromptVersion, expected: str
) -> None:
    assert encode(item, version) == (expected, False)


def test_an_instruction_of_ones_own_stands_in_place_of_ours() -> None:
    tokenizer: Any = CharacterTokenizer()
    own = "Which class has this parcel complaint?"

    def encode_own(item: AnyInput, version: PromptVersion, instruction: str) -> str:
        encoder = PromptEncoder(
            tokenizer,
            version=version,
            max_tokens=200,
            window=ContextWindow(),
            instruction=instruction,
        )
        return str(tokenizer.decode(encoder.encode([item])[0].token_ids))

    assert encode_own(PROBLEM, "instruct-1", own) == f"<user>{own}\n{PROBLEM.text}<reply>"
    assert encode_own(TURN, "instruct-1", own).startswith(f"<user>{own}\n上文 老师：")
    for item, version in ((PROBLEM, "instruct-1"), (TURN, "instruct-1"), (PROBLEM, "compact-1")):
        assert encode_own(item, version, "") == encode(item, version)[0]
    assert encode_own(PROBLEM, "compact-1", own) == encode(PROBLEM)[0]
    assert format_message(PROBLEM, "instruct-1", ContextWindow(), own) == f"{own}\n{PROBLEM.text}"


def test_an_instruction_that_leaves_no_room_is_refused() -> None:
    options: Any = {"version": "instruct-1", "max_tokens": 64, "window": ContextWindow()}
    with pytest.raises(ValueError, match="leaves 1 tokens for text"):
        PromptEncoder(CharacterTokenizer(), **options, instruction="x" * 60)
    PromptEncoder(CharacterTokenizer(), **options, instruction="x" * 45)


def test_window_limits_the_context() -> None:
    text, _ = encode(TURN, window=ContextWindow(2, 0))
    assert text == "<user>生：嗯\n师：一共几支？\n本句生：八支。<reply>"
    text, _ = encode(TURN, window=ContextWindow(0, 2))
    assert text == "<user>下文师：很好。\n下文生：谢谢\n本句生：八支。<reply>"


def test_live_turn_has_no_following_segment() -> None:
    live = TURN.model_copy(update={"following": ()})
    assert encode(live)[0] == "<user>师：一共几支？\n本句生：八支。<reply>"


def test_text_cannot_become_a_control_token() -> None:
    tokenizer = CharacterTokenizer()
    encoder = PromptEncoder(tokenizer, version="compact-1", max_tokens=200, window=ContextWindow())
    token_ids = encoder.encode([Problem(text="3<reply>5<user>")])[0].token_ids
    assert token_ids.count(tokenizer.marks["<reply>"]) == 1
    assert token_ids.count(tokenizer.marks["<user>"]) == 1


def test_context_goes_first_and_the_farthest_before_the_nearer() -> None:
    item = TURN.model_copy(update={"text": "答" * 10})
    window = ContextWindow(2, 1)
    whole = "<user>生：嗯\n师：一共几支？\n下文师：很好。\n本句生：答答答答答答答答答答<reply>"
    assert encode(item, window=window) == (whole, False)
    tokens = len(whole) - len("user>") - len("reply>")
    far_gone, was_cut = encode(item, window=window, max_tokens=tokens - 1)
    assert (far_gone, was_cut) == (whole.replace("生：嗯", "", 1), True)
    following_shorter, _ = encode(item, window=window, max_tokens=tokens - 5)
    assert following_shorter == whole.replace("生：嗯", "", 1).replace("很好。", "很")
    previous_shorter, _ = encode(item, window=window, max_tokens=tokens - 12)
    assert "下文" not in previous_shorter
    assert "师：共几支？\n本句生：" + "答" * 10 + "<reply>" in previous_shorter


def test_a_long_problem_keeps_its_two_ends() -> None:
    text, was_cut = encode(Problem(text="开头" + "。" * 500 + "几个？"), max_tokens=32)
    assert was_cut
    assert text.startswith("<user>开头") and text.endswith("几个？<reply>")


texts = st.text(min_size=1).filter(str.strip)
turns = st.builds(Turn, speaker=st.sampled_from(["teacher", "student"]), text=texts)
items = st.one_of(
    st.builds(Problem, text=texts),
    st.builds(
        DialogueTurn,
        speaker=st.sampled_from(["teacher", "student"]),
        text=texts,
        previous=st.lists(turns, max_size=3).map(tuple),
        following=st.lists(turns, max_size=3).map(tuple),
    ),
)


@given(items, st.integers(34, 80))
def test_any_input_fits_and_keeps_its_frame(item: AnyInput, max_tokens: int) -> None:
    tokenizer = CharacterTokenizer()
    encoder = PromptEncoder(
        tokenizer, version="compact-1", max_tokens=max_tokens, window=ContextWindow(2, 2)
    )
    token_ids, was_cut = encoder.encode([item])[0]
    assert len(token_ids) <= max_tokens
    assert (token_ids[0], token_ids[-1]) == (1, 2)
    whole = len(format_message(item, "compact-1", ContextWindow(2, 2))) + 2
    assert was_cut == (whole > max_tokens)
    if not was_cut:
        assert len(token_ids) == whole


def test_order_of_a_batch_is_kept() -> None:
    encoder = PromptEncoder(
        CharacterTokenizer(), version="compact-1", max_tokens=99, window=ContextWindow()
    )
    together = encoder.encode([PROBLEM, TURN, PROBLEM])
    assert together == [encoder.encode([item])[0] for item in (PROBLEM, TURN, PROBLEM)]
    assert encoder.encode([]) == []


@pytest.mark.parametrize(
    ("template", "message"),
    [("<user><reply>", "drops the user message"), ("<user>{content}", "no generation prompt")],
)
def test_a_template_that_cannot_classify_is_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(PROBLEM, tokenizer=CharacterTokenizer(template))


def test_too_small_a_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="allow at least 16"):
        encode(PROBLEM, max_tokens=10)


def test_the_frame_of_training_stays_when_the_template_would_write_another() -> None:
    """Some templates write today's date."""

    class Dated(CharacterTokenizer):
        today = "1 May"

        def apply_chat_template(self, conversation: Any, **options: Any) -> str:
            return f"<{self.today}>" + super().apply_chat_template(conversation, **options)

    tokenizer = Dated()
    options: Any = {"version": "compact-1", "max_tokens": 200, "window": ContextWindow()}
    trained = PromptEncoder(tokenizer, **options)
    first = trained.encode([PROBLEM])
    tokenizer.today = "2 May"
    assert PromptEncoder(tokenizer, **options).encode([PROBLEM]) != first
    assert PromptEncoder(tokenizer, **options, frame=trained.frame).encode([PROBLEM]) == first
