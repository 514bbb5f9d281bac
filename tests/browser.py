"""One real browser for the whole test session, and a fresh visitor in it for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.journey import DESKTOP, SCREENSHOTS, Watch

__all__ = ["QUIET", "SCREENSHOTS", "axe", "browser", "page"]

# Only the portal is visited: whatever a browser would like to fetch for itself is switched off.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it with “apt-get install chromium”"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor, at whose end nothing in the browser may have complained."""
    context = browser.new_context(viewport=DESKTOP, locale="en")
    page = context.new_page()
    watch = Watch(page)
    yield page
    context.close()
    assert not watch.complaints, "\n".join(watch.complaints)


@pytest.fixture(scope="session")
def axe() -> str:
    return (Path(__file__).parent / "e2e" / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text()
