"""Links lead somewhere, names exist, recall comes with precision, the README is short."""

import pytest

from tests.docs.pages import READMES, Page, read_page, read_pages
from tests.docs.prose import check_links, check_names, check_recall

PAGES = [*read_pages(), read_page("CHANGELOG.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_links_lead_somewhere(page: Page) -> None:
    assert check_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_named_files_and_settings_exist(page: Page) -> None:
    assert check_names(page) == []


@pytest.mark.parametrize("path", READMES)
def test_recall_is_quoted_with_precision(path: str) -> None:
    assert check_recall(read_page(path)) == []


@pytest.mark.parametrize("path", READMES)
def test_the_readme_is_short(path: str) -> None:
    assert len(read_page(path).text.splitlines()) <= 160
