"""A backbone without tokenizer or chat template is one line with its folder and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.tiny import make_backbone
from training.errors import BadInput
from training.models.model import load_tokenizer


def drop_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def drop_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def drop_both(folder: Path) -> None:
    drop_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()


def damage(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (drop_template, "has no chat template; use an instruct model"),
        (drop_tokenizer, r"no tokenizer can be loaded .*; copy tokenizer\.json"),
        (drop_both, r"no tokenizer can be loaded .*; copy tokenizer\.json"),
        (damage, r"no tokenizer can be loaded .*; copy tokenizer\.json"),
    ],
)
def test_what_a_backbone_lacks_is_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(make_backbone(tmp_path))
    with pytest.raises(BadInput, match=reason) as caught:
        load_tokenizer(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
