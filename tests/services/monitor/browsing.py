"""A real Chromium for the tests, that notes whatever a page does wrong."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example.org 127.0.0.1",
    "--ignore-certificate-errors",
)
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SIZES = {1440: 900, 390: 844}
WAIT_MS = 60_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")


class Tab:
    """A page of a browser. `wrongs` is what it did that it must not: errors, requests to elsewhere."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.wrongs: list[str] = []
        self.expected_to_fail = False
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not self.expected_to_fail:
            self.wrongs.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.wrongs.append(f"a request left the host: {request.url}")

    def open(self, path: str) -> None:
        """Go there, and wait until the page has drawn itself."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector(".bar .brand")

    def check(self) -> None:
        """Nothing went wrong, nothing was injected, nothing hangs over the side."""
        assert not self.wrongs, "\n".join(self.wrongs)
        assert self.page.evaluate("window.hacked === undefined")
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"
        assert self.page.evaluate("document.querySelectorAll('main img, main script, main iframe').length") == 0

    def axe(self) -> None:
        """No violation of accessibility that axe-core knows."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [f"{one['help']}: {[node['target'] for node in one['nodes']][:4]}" for one in found["violations"]]
        assert not told, "\n".join(told)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The browser."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(
    browser: Any, url: str, width: int = 1440, scheme: str = "light", zone: str = "UTC", *, forced: bool = False
) -> Iterator[Tab]:
    """A page of a browser that has seen nothing yet. What went wrong in it fails the test. `forced`: the system has
    colours of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": SIZES.get(width, 844)},
        color_scheme=scheme,
        forced_colors="active" if forced else "none",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id=zone,
    )
    try:
        opened = Tab(context.new_page(), url)
        yield opened
        opened.check()
    finally:
        context.close()
