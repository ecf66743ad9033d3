"""The script of texts tells Chinese from the rest."""

import pytest

from training.proposal.language import guess_language


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["小明有3支铅笔", "What is x?"], "zh"),
        (["A parcel is late", "为什么"], None),
        (["荷物はどこ", "小明有3支铅笔"], None),
        (["3 + 4 = 7"], None),
        ([], None),
    ],
)
def test_only_chinese_is_told(texts: list[str], language: str | None) -> None:
    assert guess_language(texts) == language
