"""The files of the page: who may read them, with what headers, and that they are whole."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from service.access.api_keys import ApiKeys, make_key
from service.page.assets import DOCS_FILES, FOLDER, PREFIX, Asset, read_assets
from tests.service.fake_service import run_fake_service

KEY, HASH = make_key()
KEYS = ApiKeys.read(f"school:{HASH}", None)


async def fetch(*paths: str, **changes: Any) -> list[httpx.Response]:
    async with run_fake_service(**changes) as service:
        return [await service.client.get(path) for path in paths]


async def test_the_page_and_all_its_files_are_open_though_keys_are_set() -> None:
    paths = [*read_assets(with_page=True), "/docs/assets/swagger-ui-bundle.js"]
    assert {"/", "/docs", "/page/main.js"} <= set(paths)
    for response in await fetch(*paths, keys=KEYS):
        assert response.status_code == 200, response.url
    closed = ["/labels", "/models", "/openapi.json", "/page/nothing.js", "/page/../labels", "/x"]
    for response in await fetch(*closed, keys=KEYS):
        assert response.status_code == 401, response.url


async def test_the_policy_lets_nothing_inline_or_foreign_in() -> None:
    page, script, docs = await fetch("/", "/page/main.js", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for response in (page, script):
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
    assert "script-src" not in docs.headers["content-security-policy"]


async def test_a_file_is_sent_again_only_when_it_is_another() -> None:
    async with run_fake_service() as service:
        first = await service.client.get("/page/main.js")
        assert first.headers.get_list("cache-control") == ["no-cache"]
        again = await service.client.get(
            "/page/main.js", headers={"if-none-match": first.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        other = await service.client.get("/page/main.js", headers={"if-none-match": '"x"'})
        assert other.content == first.content


async def test_what_is_no_file_of_the_page_is_not_found() -> None:
    for response in await fetch("/page/", "/page/assets.py", "/page/%2e%2e/assets.py"):
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


async def test_without_the_page_the_api_and_its_forms_are_left() -> None:
    page, main, docs, script = await fetch(
        "/", "/page/main.js", "/docs", "/page/docs.js", page=False
    )
    assert [page.status_code, main.status_code] == [404, 404]
    assert [docs.status_code, script.status_code] == [200, 200]


@pytest.mark.parametrize("with_page", [True, False])
def test_every_file_that_is_named_is_served(with_page: bool) -> None:
    assets = read_assets(with_page=with_page)
    for path, asset in assets.items():
        for named in find_links(path, asset):
            assert named in assets or named.startswith("/docs/assets/"), f"{path} names {named}"


def find_links(path: str, asset: Asset) -> list[str]:
    """What a file loads, as paths."""
    text = asset.body.decode()
    if asset.media_type.startswith("text/html"):
        return ["/" + link for link in re.findall(r'(?:src|href)="([^"]+)"', text)]
    found = re.findall(r'^(?:import|export)\b[^"]*?"([^"]+\.js)"', text, flags=re.MULTILINE)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in found]


def test_no_file_of_the_page_is_left_unused() -> None:
    assets = read_assets(with_page=True)
    used = follow_links("/", assets) | follow_links("/docs", assets)
    assert used == set(assets)
    assert {PREFIX + name for name in DOCS_FILES if name != "docs.html"} < used


def follow_links(start: str, assets: Mapping[str, Asset]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in assets and path not in found:
            found.add(path)
            waiting += find_links(path, assets[path])
    return found


def read_words(language: str) -> dict[str, str]:
    text = (FOLDER / "words" / f"{language}.js").read_text(encoding="utf-8")
    words = re.findall(r'"((?:[^"\\]|\\.)+)":\s*"((?:[^"\\]|\\.)*)"', text)
    assert len(dict(words)) == len(words), "a key stands twice"
    return dict(words)


def test_both_dictionaries_have_the_same_words_and_places() -> None:
    english, chinese = read_words("en"), read_words("zh")
    assert english.keys() == chinese.keys()
    for key, words in english.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_every_word_that_is_asked_for_is_in_the_dictionaries() -> None:
    english = read_words("en")
    for path in FOLDER.rglob("*.js"):
        for key in re.findall(r'\bt\("([\w.-]+)"', path.read_text(encoding="utf-8")):
            assert key in english, f"{path.name} asks for {key}"


def test_the_page_is_written_here_and_small() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
            assert "https://" not in text
            assert "innerHTML" not in text
            assert path.parent.name == "words" or len(text.splitlines()) <= 250, path
