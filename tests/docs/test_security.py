"""Each promise of docs/security.md names the test that keeps it."""

import ast
import re

import pytest

from tests.docs.pages import ROOT, read_page

PAGE = read_page("docs/security.md").text
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("|") and not re.match(r"\|[- |]*\|$|.*\| test \|$", line)
]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_line_names_a_test(row: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+` \|$", row)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_the_page_makes_promises() -> None:
    assert len(ROWS) >= 20 and len(NAMED) > len(ROWS)
