"""Which language texts are in, as far as their script tells."""

import unicodedata
from collections.abc import Sequence
from typing import Literal

_SAMPLE = 500
_SHARE = 0.3


def guess_language(texts: Sequence[str]) -> Literal["zh"] | None:
    """`zh` where many letters are Chinese characters and none is Japanese; None: not known."""
    letters = [each for text in texts[:_SAMPLE] for each in text if each.isalpha()]
    names = [unicodedata.name(each, "").split()[0:1] for each in letters]
    scripts = [name[0] if name else "" for name in names]
    if {"HIRAGANA", "KATAKANA"} & set(scripts):
        return None
    return "zh" if scripts.count("CJK") > _SHARE * len(scripts) else None
