"""Requests of the pages: the service itself, around a fake engine, says whether they are right."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from starlette.routing import Match

from contract.manifest import read_manifest
from engine.checkpoint import BUNDLED_CHECKPOINT
from tests.docs.shell import Command
from tests.service.fake_service import FakeService, run_fake_service

_SHOWN_ERROR = re.compile(r'^# \{"type":"urn:ncal-serve:error:([a-z-]+)"', re.M)
_PLAIN_OPTIONS = re.compile(r"-[sSNiv]+")


class Sent(NamedTuple):
    """What a curl command sends."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


async def check_curl(command: Command, shown: str) -> list[str]:
    """Return what is wrong with a request; `shown` is the block with the answer it is to have.

    An answer that begins as an error must be that error, any other must be a success.
    """
    try:
        sent = read_curl(command, shown)
    except ValueError as error:
        return [f"curl: {error}"]
    parts = urlsplit(sent.url if "//" in sent.url else f"http://{sent.url}")
    if parts.netloc not in ("localhost:8000", "127.0.0.1:8000"):
        return [f"{sent.url}: make serve listens on 127.0.0.1:8000"]
    manifest = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False)
    async with run_fake_service(manifest) as service:
        if not _find_route(service, sent.method, parts.path):
            return [f"{sent.method} {parts.path}: no such route"]
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        response = await service.client.request(
            sent.method, target, headers=sent.headers, content=sent.body
        )
    return _judge(response, target, shown)


def read_curl(command: Command, shown: str = "") -> Sent:
    """Read the options that the pages use; ValueError for others.

    A file that is sent is one that a `printf` of the same block writes.
    """
    method, url, body = "", "", b""
    headers: dict[str, str] = {}
    form: list[tuple[str, tuple[str | None, bytes]]] = []
    words = iter(command.words[1:])
    for word in words:
        if word in ("-H", "--header"):
            name, _, value = next(words).partition(":")
            headers[name.strip()] = value.strip()
        elif word in ("-d", "--data", "--data-binary"):
            body = _read_body(next(words), command)
        elif word in ("-F", "--form"):
            form.append(_read_field(next(words), shown))
        elif word in ("-X", "--request"):
            method = next(words)
        elif word.startswith("-"):
            if not _PLAIN_OPTIONS.fullmatch(word):
                raise ValueError(f"{word}: not an option that the pages need")
        else:
            url = word
    if form:
        request = httpx.Request("POST", "http://localhost", files=form)
        body = request.read()
        headers["content-type"] = request.headers["content-type"]
    if not url:
        raise ValueError("no address")
    return Sent(method or ("POST" if body else "GET"), url, headers, body)


def _read_body(word: str, command: Command) -> bytes:
    if word != "@-":
        return word.encode()
    if command.feeds[:1] != ("printf",):
        raise ValueError("reads what no printf writes")
    return command.feeds[1].replace("\\n", "\n").encode()


def _read_field(word: str, shown: str) -> tuple[str, tuple[str | None, bytes]]:
    name, _, value = word.partition("=")
    if not value.startswith("@"):
        return name, (None, value.encode())
    written = re.search(rf"printf '([^']*)' > {re.escape(value[1:])}\s", shown)
    if not written:
        raise ValueError(f"{value}: no printf of the block writes it")
    return name, (value[1:], written[1].replace("\\n", "\n").encode())


def _find_route(service: FakeService, method: str, path: str) -> bool:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in service.app.routes)


def _judge(response: httpx.Response, target: str, shown: str) -> list[str]:
    expected = _SHOWN_ERROR.search(shown)
    if response.status_code != 200:
        slug = response.json()["type"].rpartition(":")[2]
        if expected and expected[1] == slug:
            return []
        reasons = response.json().get("errors") or [response.json()["detail"]]
        return [f"{target}: {response.status_code} {slug}, {reasons}"]
    if expected:
        return [f"{target}: is answered, and the page shows the error {expected[1]}"]
    failed = response.text.count('"status":"error"')
    if failed != shown.count('"status":"error"'):
        return [f"{target}: {failed} items fail, and the page shows others"]
    return []
