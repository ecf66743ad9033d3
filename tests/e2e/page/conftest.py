"""One browser for all tests of the page, and pages that keep account of what goes wrong."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from tests.e2e.service_process import ServiceProcess

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_SERIOUS = ("serious", "critical")
OpenPage = Callable[..., Awaitable[Page]]
_LISTEN = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason where there is no browser."""
    for item in items:
        if CHROMIUM is None and "/e2e/page/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="no Chromium: apt install chromium"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not work for root in a container.
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


class Faults:
    """What a page must never do; a test that expects a message takes it out."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.messages: list[str] = []
        self.foreign: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        is_answer = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not is_answer:
            self.messages.append(message.text)

    def _see(self, request: Request) -> None:
        address = urlsplit(request.url)
        is_own = f"{address.scheme}://{address.netloc}" == self.origin
        if not is_own and address.scheme not in ("blob", "data"):
            self.foreign.append(request.url)


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, shared_service: ServiceProcess) -> AsyncIterator[OpenPage]:
    """Open a view in a fresh context; afterwards no page may have complained or gone abroad."""
    watched: list[Faults] = []
    async with AsyncExitStack() as stack:

        async def open_view(
            view: str = "", *, url: str = "", wait_for: str = "h1", **context: Any
        ) -> Page:
            url = url or shared_service.url
            options = {"locale": "en-US", "viewport": {"width": 1200, "height": 850}} | context
            opened = await browser.new_context(**options)
            stack.push_async_callback(opened.close)
            await opened.add_init_script(_LISTEN)
            page = await opened.new_page()
            page.set_default_timeout(20_000)
            faults = Faults(url)
            faults.watch(page)
            watched.append(faults)
            await page.goto(f"{url}/#/{view}")
            await page.wait_for_selector(wait_for)
            return page

        yield open_view
    for faults in watched:
        assert faults.messages == []
        assert faults.foreign == []


async def find_faults(page: Page) -> list[str]:
    """What axe-core calls serious on the page as it is."""
    results = await Axe().run(page)
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}"
        for each in results.response["violations"]
        if each["impact"] in _SERIOUS
    ]
