"""Pictures of the page, view by view, in both languages: `make screenshots`, then look at them.

A service with the bundled checkpoint and Debian's Chromium are started for it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent / "page"
VIEWS = ("problem", "dialogue", "file", "model")
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
_LESSON = (
    ("李老师", "八分之六怎么约分？"),
    ("小明", "同时除以二，等于四分之三。"),
    ("李老师", "没错，很好。那十二分之八呢？"),
    ("小明", "嗯……不会。"),
    ("李老师", "想一想，八和十二都能被几整除？"),
    ("小明", "四。"),
    ("李老师", "对，上下都除以四，得到三分之二。"),
    ("小明", "明白了。"),
    ("李老师", "那我们再做一道，十五分之十等于几？"),
    ("小明", "三分之二！"),
)


def show_problem(page: Page) -> None:
    page.locator(".chips button").first.click()
    page.wait_for_selector("#label")


def show_dialogue(page: Page) -> None:
    page.locator("form .actions button").nth(1).click()
    page.wait_for_selector(".exchanges")
    page.locator(".result").evaluate("(result) => scrollTo(0, result.offsetTop - 70)")


def show_file(page: Page) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lesson = Path(folder, "lesson.csv")
        lines = [f"{speaker},{text}" for speaker, text in _LESSON]
        lesson.write_text("\n".join(["speaker,text", *lines]) + "\n", encoding="utf-8")
        page.set_input_files("#file", lesson)
        page.click("#start")
        page.wait_for_selector("#download")
    page.locator(".grid-row").nth(2).click()
    page.keyboard.press("1")
    page.locator(".filters").evaluate("(filters) => scrollTo(0, filters.offsetTop - 90)")


def show_model(page: Page) -> None:
    page.wait_for_selector("tbody tr")


_SHOW: dict[str, Callable[[Page], None]] = {
    "problem": show_problem, "dialogue": show_dialogue, "file": show_file, "model": show_model,
}  # fmt: skip


def take_pictures(browser: Browser, url: str) -> None:
    """Write a picture of each view in each language."""
    for language, locale in LANGUAGES.items():
        for view in VIEWS:
            context = browser.new_context(
                locale=locale, viewport={"width": 1024, "height": 680}, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(f"{url}/#/{view}")
            page.wait_for_selector("h1")
            _SHOW[view](page)
            page.screenshot(path=FOLDER / f"{view}-{language}.png")
            context.close()


@contextmanager
def serve() -> Iterator[str]:
    """The address of a service of its own."""
    command = [sys.executable, "-m", "service", "--port", "0", "--max-wait-s", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[0-9.]+:\d+", process.stdout.readline())
            if found is None:
                raise SystemExit("error: the service did not start; try `make serve`")
            yield found[0]
        finally:
            process.terminate()


def main() -> int:
    """Take all pictures anew."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("error: no Chromium: apt install chromium fonts-noto-cjk")
    FOLDER.mkdir(exist_ok=True)
    with serve() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take_pictures(browser, url)
        browser.close()
    print(f"pictures {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
