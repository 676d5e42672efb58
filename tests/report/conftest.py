"""Chromium for the pages; tests that need it are skipped where it, or Playwright, is not installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "VISION_TASKS_BROWSER"  # set where its absence must not go unnoticed


def absent(what: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        absent("Chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Opened:
    """A page, and what it did that a page must not do."""

    page: Any
    said: list[str] = field(default_factory=list)  # on the console, uncaught errors, dialogs
    asked: list[str] = field(default_factory=list)  # for anything but itself

    def draw_all(self) -> None:
        """Also what is far below."""
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.page.wait_for_timeout(100)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a file in a window of its own: (path, width, scheme) -> Opened."""
    contexts = []

    def opened(path: Path, width: int = 1100, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(90_000)  # of a busy machine: what draws pages has a low priority
        found = Opened(context.new_page())

        def route(handler: Any) -> None:
            if handler.request.url == path.as_uri():
                handler.continue_()
            else:
                found.asked.append(handler.request.url[:80])
                handler.abort()

        context.route(lambda url: not url.startswith(("data:", "blob:")), route)
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.said.append(dialog.message), dialog.dismiss()))
        found.page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()
