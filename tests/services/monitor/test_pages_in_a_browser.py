"""Every page in Chromium: wide and narrow, light and dark, empty and full; without a fault that axe-core knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.monitor import synthetic
from tests.services.monitor.browsing import needs_chromium, tab
from tests.services.monitor.running import Running, fill, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch

pytestmark = [needs_chromium, pytest.mark.slow]

LOOKS = [
    pytest.param(1440, "light", id="1440-light"),
    pytest.param(390, "dark", id="390-dark"),
    pytest.param(1440, "dark", id="1440-dark", marks=pytest.mark.soak),
    pytest.param(390, "light", id="390-light", marks=pytest.mark.soak),
]
named = pytest.mark.parametrize(("width", "scheme"), LOOKS)
REST = [pytest.param(*look.values, id=look.id, marks=pytest.mark.soak) for look in LOOKS[1:]]
once = pytest.mark.parametrize(("width", "scheme"), [LOOKS[0], *REST])
"""What is small is looked at in one way, and in all ways when there is time."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("empty"), master=ScriptedMaster(0)) as served:
        yield served


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    output = tmp_path_factory.mktemp("full")
    synthetic.dataset(output)
    stood = list[float]()
    with running(output, search=ScriptedSearch(), monotonic=lambda: stood[0] if stood else time.monotonic()) as served:
        fill(served, lines=10_000, workers=1_000, seconds=4)
        stood.append(time.monotonic())  # what was said last is never long ago, however long these tests take
        yield served


@named
def test_a_crawl_with_a_thousand_workers(browser: Any, full: Running, width: int, scheme: str) -> None:
    with tab(browser, full.url, width, scheme) as opened:
        opened.open("/")
        opened.page.wait_for_selector("text=autumn is running")
        opened.page.wait_for_selector(".uplot canvas")
        opened.page.wait_for_selector("text=10,000 lines")
        opened.page.wait_for_selector("text=25 jobs gave up")
        assert opened.page.locator("#workers-scroller tbody tr:not(.spacer)").count() < 40
        assert opened.page.locator(".log-line").count() < 60
        opened.axe()


@named
def test_a_crawl_that_has_not_begun(browser: Any, empty: Running, width: int, scheme: str) -> None:
    with tab(browser, empty.url, width, scheme) as opened:
        opened.open("/")
        for words in ("Waiting for a master", "Nothing to draw yet", "Nothing has been logged yet", "No dead letters"):
            opened.page.wait_for_selector(f"text={words}")
        opened.page.wait_for_selector(".live:has-text('nothing heard yet')")
        opened.axe()


@named
def test_a_search(browser: Any, full: Running, width: int, scheme: str) -> None:
    with tab(browser, full.url, width, scheme) as opened:
        opened.open("/inspect")
        opened.page.wait_for_selector("text=640 posts")
        opened.page.wait_for_selector("#map canvas")
        opened.page.wait_for_selector("#bars canvas")
        opened.axe()


@once
def test_a_search_without_an_index(browser: Any, empty: Running, width: int, scheme: str) -> None:
    with tab(browser, empty.url, width, scheme) as opened:
        opened.expected_to_fail = True  # the browser itself notes an answer of 503 as an error
        opened.open("/inspect")
        opened.page.wait_for_selector("text=start tmatic-indexer")
        opened.axe()


@named
def test_an_account(browser: Any, full: Running, width: int, scheme: str) -> None:
    with tab(browser, full.url, width, scheme) as opened:
        opened.open(f"/user/{synthetic.USERS[2]}")
        opened.page.wait_for_selector("text=found in 2 steps from a target")
        opened.page.wait_for_selector("text=130 of 130 expected")
        opened.page.wait_for_selector(".post")
        opened.axe()


@once
def test_an_account_that_nobody_knows(browser: Any, empty: Running, width: int, scheme: str) -> None:
    with tab(browser, empty.url, width, scheme) as opened:
        opened.expected_to_fail = True  # the browser itself notes an answer of 404 as an error
        opened.open("/user/404")
        opened.page.wait_for_selector("text=Nothing is known of this account")
        opened.axe()


@once
def test_what_opens_over_a_page(browser: Any, full: Running, width: int, scheme: str) -> None:
    with tab(browser, full.url, width, scheme) as opened:
        opened.open("/")
        opened.page.get_by_role("button", name="worker-001", exact=True).click()
        opened.page.wait_for_selector("dialog >> text=Last sign of life")
        opened.axe()
        opened.page.keyboard.press("Escape")
        opened.page.get_by_role("button", name="Drop Timelines").first.click()
        opened.page.wait_for_selector("text=given up for good")
        opened.axe()
        opened.page.get_by_role("button", name="Cancel").click()
        opened.page.get_by_role("button", name="Sign in").click()
        opened.page.wait_for_selector("dialog >> text=Token")
        opened.axe()
