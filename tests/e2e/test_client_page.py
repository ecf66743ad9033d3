"""Every piece of code of docs/client.md runs against the real service and prints what stands
below it."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import read_page
from tests.e2e.service_process import ServiceProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_page_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_service: ServiceProcess
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown: list[tuple[int, str]] = []
    printed: list[tuple[int, str]] = []
    blocks = [block for block in read_page("docs/client.md").blocks if block.language != "sh"]
    for code, output in zip(blocks[::2], blocks[1::2], strict=True):
        assert (code.language, output.language) == ("python", "text"), code.line
        said = io.StringIO()
        with redirect_stdout(said):
            text = code.text.replace("http://127.0.0.1:8000", shared_service.url)
            exec(compile(text, f"docs/client.md:{code.line}", "exec"), names)
        printed.append((code.line, said.getvalue().replace("\r\n", "\n").strip()))
        shown.append((code.line, output.text.strip()))
    assert len(printed) >= 10
    assert printed == shown
