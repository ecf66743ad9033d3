"""The only place where text becomes a prompt.

An input becomes *segments* (a marker and a text), the segments one user message,
and the message, through the tokenizer's own chat template, token ids. Texts are
tokenized apart from the template, so what a pupil types can never turn into a
control token, and a long input can be cut by whole tokens.

Cutting: the text to be labelled is kept; context goes first, farthest turn first,
and of two turns equally far the following one. Inside a turn the end that is
farther away goes. If the text alone is too long, its middle goes: the question of
a problem usually stands at its end.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from contract.inputs import AnyInput, DialogueTurn, Kind, Problem, Turn

PromptVersion = Literal["compact-1", "instruct-1"]
"""`compact-1` has no instruction (small in-domain models); `instruct-1` has one (chat models)."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    def __call__(self, text: Any, **options: Any) -> Any: ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


class ContextWindow(NamedTuple):
    """How many turns before and after the labelled one the model was trained to read."""

    previous: int = 1
    following: int = 1


class Prompt(NamedTuple):
    """Token ids ready for the model, and whether text was left out to fit."""

    token_ids: list[int]
    was_cut: bool


class Segment(NamedTuple):
    """A piece of the message: `marker` names it, `text` is what somebody wrote or said."""

    marker: str
    text: str
    place: Literal["previous", "following", "target"]


_SPEAKERS = {
    "compact-1": {"teacher": "师：", "student": "生："},
    "instruct-1": {"teacher": "老师：", "student": "学生："},
}
_MARKERS = {
    "compact-1": {"previous": "", "following": "下文", "target": "本句"},
    "instruct-1": {"previous": "上文 ", "following": "下文 ", "target": "本句 "},
}
_INSTRUCTIONS: dict[Kind, str] = {
    "problem": "判断这道小学数学题主要考查的认知维度。题目：",
    "dialogue-turn": "下面是数学辅导对话的片段。判断“本句”在课堂互动中的作用。",
}
_LEAST_ROOM = 16
"""Tokens that must be left for text."""
_SENTINEL = "\ue000"  # a private-use character: no template and no input contains it
_LINE_BREAK = "\n"


def split_into_segments(
    item: AnyInput, version: PromptVersion, window: ContextWindow
) -> list[Segment]:
    """Return the segments of an input in prompt order; the target always stands last."""
    if isinstance(item, Problem):
        return [Segment("", item.text, "target")]

    def make_segment(turn: Turn, place: Literal["previous", "following", "target"]) -> Segment:
        marker = _MARKERS[version][place] + _SPEAKERS[version][turn.speaker]
        return Segment(marker, turn.text, place)

    previous = item.previous[-window.previous :] if window.previous else ()
    following = item.following[: window.following]
    return [
        *(make_segment(turn, "previous") for turn in previous),
        *(make_segment(turn, "following") for turn in following),
        make_segment(item, "target"),
    ]


def format_message(
    item: AnyInput, version: PromptVersion, window: ContextWindow, instruction: str = ""
) -> str:
    """Return the user message of an input as text (for pretraining and for people)."""
    segments = split_into_segments(item, version, window)
    body = _LINE_BREAK.join(segment.marker + segment.text for segment in segments)
    return _instruction_of(item, version, instruction) + body


def _instruction_of(item: AnyInput, version: PromptVersion, own: str) -> str:
    """What stands before the input: the label set's own instruction, else that of the kind."""
    if version == "compact-1":
        return ""
    kind: Kind = "dialogue-turn" if isinstance(item, DialogueTurn) else "problem"
    return (own or _INSTRUCTIONS[kind]) + _LINE_BREAK


class Frame(NamedTuple):
    """Token ids that the chat template puts before and after the message.

    A checkpoint keeps those that it was trained with: some templates write today's date.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]


class PromptEncoder:
    """Turns inputs into token ids for one task of a checkpoint.

    `max_tokens` bounds the whole prompt. `frame` is what the chat template was when the
    checkpoint was trained; None asks the template. `instruction` is that of the label set, if
    it has one; only `instruct-1` writes it. Raises ValueError if template and instruction
    leave no room for text, or the template loses the message.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        version: PromptVersion,
        max_tokens: int,
        window: ContextWindow,
        frame: Frame | None = None,
        instruction: str = "",
    ) -> None:
        self.version = version
        self.max_tokens = max_tokens
        self.window = window
        self._tokenizer = tokenizer
        self._instruction = instruction
        self.frame = frame or self._build_frame()
        self._fixed: dict[str, list[int]] = {"": []}
        room = self._budget
        if instruction and version != "compact-1":
            room -= len(self._encode_fixed(instruction + _LINE_BREAK))
        if room < _LEAST_ROOM:
            raise ValueError(
                f"max_tokens={max_tokens} leaves {room} tokens for text; allow at least "
                f"{_LEAST_ROOM}"
            )

    @property
    def _budget(self) -> int:
        return self.max_tokens - len(self.frame.before) - len(self.frame.after)

    def encode(self, items: Sequence[AnyInput]) -> list[Prompt]:
        """Return a prompt for each input, in order; all texts are tokenized in one call."""
        pieces = [split_into_segments(item, self.version, self.window) for item in items]
        flat = iter(self._tokenize([segment.text for group in pieces for segment in group]))
        return [
            self._assemble(item, group, [next(flat) for _ in group])
            for item, group in zip(items, pieces, strict=True)
        ]

    def _assemble(self, item: AnyInput, segments: list[Segment], texts: list[list[int]]) -> Prompt:
        instruction = self._encode_fixed(_instruction_of(item, self.version, self._instruction))
        markers = [
            self._encode_fixed((_LINE_BREAK if index else "") + segment.marker)
            for index, segment in enumerate(segments)
        ]
        excess = len(instruction) - self._budget
        excess += sum(map(len, markers)) + sum(map(len, texts))
        was_cut = excess > 0
        for index in _order_of_cutting(segments):
            if excess <= 0:
                break
            excess -= _cut(segments[index], markers[index], texts[index], excess)
        if excess > 0:
            _cut_middle(texts[-1], excess)
        token_ids = [*self.frame.before, *instruction]
        for marker, text in zip(markers, texts, strict=True):
            token_ids += marker
            token_ids += text
        token_ids += self.frame.after
        return Prompt(token_ids, was_cut)

    def _build_frame(self) -> Frame:
        rendered: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": _SENTINEL}], tokenize=False, add_generation_prompt=True
        )
        before, found, after = rendered.partition(_SENTINEL)
        if not found:
            raise ValueError("the tokenizer's chat template drops the user message")
        before_ids, after_ids = (
            self._tokenizer([part], add_special_tokens=False)["input_ids"][0]
            for part in (before, after)
        )
        if not after_ids:
            raise ValueError("the tokenizer's chat template has no generation prompt")
        return Frame(tuple(before_ids), tuple(after_ids))

    def _encode_fixed(self, text: str) -> list[int]:
        if text not in self._fixed:
            self._fixed[text] = self._tokenize([text])[0]
        return list(self._fixed[text])

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:  # a Hugging Face tokenizer fails on an empty list
            return []
        encoded = self._tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        return [list(ids) for ids in encoded["input_ids"]]


def _order_of_cutting(segments: list[Segment]) -> list[int]:
    """Indices of the context segments, the first to go first."""
    previous = [i for i, segment in enumerate(segments) if segment.place == "previous"]
    following = [i for i, segment in enumerate(segments) if segment.place == "following"]
    distances = [(len(previous) - rank, 0, i) for rank, i in enumerate(previous)]
    distances += [(rank + 1, 1, i) for rank, i in enumerate(following)]
    return [index for _, _, index in sorted(distances, reverse=True)]


def _cut(segment: Segment, marker: list[int], text: list[int], excess: int) -> int:
    """Shorten a context segment in place by up to `excess` tokens; return how many went."""
    if excess >= len(text):
        removed = len(text) + len(marker)
        text.clear()
        marker.clear()
        return removed
    if segment.place == "previous":
        del text[:excess]
    else:
        del text[len(text) - excess :]
    return excess


def _cut_middle(text: list[int], excess: int) -> None:
    kept = len(text) - excess
    head = (kept + 1) // 2
    del text[head : head + excess]
