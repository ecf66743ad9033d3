"""The committed pictures are those that the program draws of the tree as it is."""

import pytest

from contract.manifest import read_manifest
from docs.pictures.imports import order_by_level
from docs.pictures.rooms import draw_architecture, draw_rooms
from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "pictures"


@pytest.mark.parametrize(
    ("name", "draw"), [("architecture.svg", draw_architecture), ("rooms.svg", draw_rooms)]
)
def test_the_drawing_is_of_this_tree(name: str, draw: object) -> None:
    assert callable(draw)
    assert (FOLDER / name).read_text(encoding="utf-8") == draw(), "run `make pictures`"


def test_the_answers_are_of_the_bundled_checkpoint() -> None:
    fingerprint = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False).fingerprint
    assert fingerprint in (FOLDER / "answers.svg").read_text(encoding="utf-8")


def test_pictures_are_small() -> None:
    pictures = [path for path in FOLDER.iterdir() if path.suffix in (".svg", ".png")]
    assert len(pictures) == 7
    assert all(path.stat().st_size < 120_000 for path in pictures)


def test_every_view_of_the_page_has_a_picture_in_both_languages_and_is_shown() -> None:
    pictures = sorted(path.name for path in (FOLDER / "page").iterdir())
    assert pictures == sorted(
        f"{view}-{language}.png"
        for view in ("problem", "dialogue", "file", "model")
        for language in ("en", "zh")
    )
    page = (ROOT / "docs" / "page.md").read_text(encoding="utf-8")
    for name in pictures:
        assert (FOLDER / "page" / name).stat().st_size < 150_000
        assert f"(pictures/page/{name})" in page


def test_a_circle_of_imports_cannot_be_drawn() -> None:
    assert order_by_level({"top": {"base"}, "base": set()}) == [["base"], ["top"]]
    with pytest.raises(ValueError, match="circle"):
        order_by_level({"one": {"other"}, "other": {"one"}})
