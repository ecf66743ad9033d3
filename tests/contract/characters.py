"""A tokenizer small enough to read prompts by eye: one token a character."""

from typing import Any, ClassVar


class CharacterTokenizer:
    """Token id = code point; the control marks of its chat template are single tokens."""

    marks: ClassVar = {"<user>": 1, "<reply>": 2}

    def __init__(self, template: str = "<user>{content}<reply>") -> None:
        self.template = template

    def apply_chat_template(self, conversation: Any, **options: Any) -> str:
        assert options == {"tokenize": False, "add_generation_prompt": True}
        return self.template.replace("{content}", conversation[0]["content"])

    def __call__(self, text: list[str], **options: Any) -> dict[str, list[list[int]]]:
        assert options.pop("add_special_tokens") is False
        split = options.pop("split_special_tokens", False)
        assert not options
        assert text, "a Hugging Face tokenizer fails on an empty list"
        return {"input_ids": [self._encode(part, split) for part in text]}

    def _encode(self, text: str, split_marks: bool) -> list[int]:
        if not split_marks:
            for mark, token in self.marks.items():
                text = text.replace(mark, chr(token))
        return [ord(character) for character in text]

    def decode(self, token_ids: list[int]) -> str:
        text = "".join(map(chr, token_ids))
        for mark, token in self.marks.items():
            text = text.replace(chr(token), mark)
        return text
