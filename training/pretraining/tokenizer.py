"""The tokenizer of the bundled model: byte-pair encoding over Chinese characters."""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}<|end|>{% endif %}"
)
_SPELLINGS = {"²": "^2", "³": "^3", r"\times": "×", r"\div": "÷", r"\left": "", r"\right": ""}


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn a BPE vocabulary of `vocab_size` tokens from texts.

    Digits stay single, so 131 and 313 share their parts; a token is at most four
    characters, so whole phrases of the corpus are not learned by heart; a character
    that was never seen falls back to its UTF-8 bytes, so no text is unreadable.
    Full-width forms are folded to ASCII, but an exponent stays an exponent; runs of
    blanks and of underscores become one; the commonest LaTeX signs become the sign.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
    tokenizer.normalizer = normalizers.Sequence(
        [
            *(normalizers.Replace(old, new) for old, new in _SPELLINGS.items()),
            normalizers.NFKC(),
            normalizers.Replace(Regex("_+"), "_"),
            normalizers.Replace(Regex("[ \\t]+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    bytes_alphabet = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        max_token_length=4,
        special_tokens=[PAD, END, USER, ASSISTANT, SYSTEM, *bytes_alphabet],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_release_bytes(tokenizer),
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[USER, ASSISTANT, SYSTEM],
        chat_template=_CHAT_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="right",
    )


def _release_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Make the 256 byte tokens ordinary: as special tokens, a typed `<0x41>` would match one."""
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(state))
