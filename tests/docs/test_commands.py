"""Every command of every page is one that works as far as can be told without running it."""

import pytest

from tests.docs.commands import find_faults
from tests.docs.pages import READMES, Page, read_page, read_pages
from tests.docs.shell import read_commands

PAGES = read_pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
async def test_commands_are_right(page: Page) -> None:
    assert await find_faults(page) == []


def test_the_pages_hold_commands() -> None:
    """Or the test above could not fail."""
    blocks = [block for page in PAGES for block in page.blocks if block.language == "sh"]
    programs = [command.words[0] for block in blocks for command in read_commands(block.text)]
    assert {"make", "curl", "docker", "kubectl", "ncal", "uv", ".venv/bin/python"} <= set(programs)


def test_both_readmes_have_the_same_commands() -> None:
    """The Chinese one has those of mirrors beside."""
    english, chinese = (
        {
            (command.words, tuple(command.variables))
            for block in read_page(path).blocks
            if block.language == "sh"
            for command in read_commands(block.text)
        }
        for path in READMES
    )
    assert english <= chinese
