"""The Prefect UI in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fixtures_prefect import STANDSTILL, PrefectApi

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SEEN_WITHIN = 1000 * (30 + STANDSTILL)  # milliseconds


@dataclass
class Browser:
    page: Page
    url: str

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sees(self, *texts: str) -> None:
        """Waits until all of it is on the page."""
        for text in texts:
            self.page.get_by_text(text, exact=True).first.wait_for(timeout=SEEN_WITHIN)

    def types(self, field: Locator, text: str) -> None:
        """Key by key, over what the field held."""
        field.click()
        field.press("ControlOrMeta+a")
        field.press_sequentially(text)


@pytest.fixture
def browser(prefect: PrefectApi, tmp_path: Path) -> Iterator[Browser]:
    """Ask for it last: while a browser is open, Prefect's own calls do not work in this thread."""
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is not there: the pages of the Prefect UI were not looked at"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, headless=False, args=ARGUMENTS
        )
        context.set_default_timeout(SEEN_WITHIN)
        yield Browser(context.new_page(), prefect.ui_url)
        context.close()
