"""Every action in Chromium: searching, sorting, choosing, signing in, requeuing, dropping; and a feed that ages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.services.monitor import synthetic
from tests.services.monitor.browsing import Tab, needs_chromium, tab
from tests.services.monitor.running import TOKEN, Running, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch
from tests.waiting import until

pytestmark = [needs_chromium, pytest.mark.slow]
WAIT_S = 60.0


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Running]:
    synthetic.dataset(tmp_path)
    with running(tmp_path, search=ScriptedSearch()) as served:
        served.feed.apply(synthetic.events(), synthetic.POSITION)
        for line in synthetic.lines(10_000):
            served.feed.hear("log.master", line)
        served.feed.hear("stats.gauges", synthetic.document(1_000))
        yield served


@pytest.fixture(params=[1440, 390])
def opened(request: pytest.FixtureRequest, browser: Any, monitor: Running) -> Iterator[Tab]:
    with tab(browser, monitor.url, request.param) as one:
        yield one


def shown(opened: Tab, place: str) -> Callable[[], str]:
    return lambda: str(opened.page.locator(place).inner_text())


def test_the_crawl_can_be_looked_at_from_every_side(opened: Tab, monitor: Running) -> None:
    page = opened.page
    opened.open("/")
    page.wait_for_selector("text=autumn is running")

    # Workers: searched, narrowed, sorted, opened.
    page.fill("#workers-search", "10.0.1.6")
    until(lambda: "of 1,000 workers" in shown(opened, "#workers-foot")(), WAIT_S)
    page.fill("#workers-search", "")
    page.locator("#workers-state").get_by_role("button", name="Silent").click()
    until(lambda: "of 1,000 workers" in shown(opened, "#workers-foot")(), WAIT_S)
    page.locator("#workers-state").get_by_role("button", name="All").click()
    page.get_by_role("button", name="Jobs in hand").click()
    assert page.locator("th[aria-sort=descending]").inner_text() == "Jobs in hand"
    page.locator("#workers-scroller tbody .link").first.click()
    page.wait_for_selector("dialog >> text=Jobs in hand, 8 of 8")
    page.keyboard.press("Escape")
    page.locator(".crew canvas").click(position={"x": 3, "y": 3})
    page.wait_for_selector("dialog >> text=worker-001")
    page.get_by_role("button", name="Close").click()

    # The log: searched, narrowed, read by the arrow keys.
    page.fill("#log-search", "budget")
    until(lambda: "of 10,000 lines" in shown(opened, "#log-words")(), WAIT_S)
    assert page.locator(".log-line mark").first.inner_text() == "budget"
    page.locator("#log-level").get_by_role("button", name="Errors").click()
    page.fill("#log-search", "")
    page.locator("#log-scroller").focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.locator("#log-follow").get_attribute("aria-pressed") == "false"
    page.wait_for_selector("#log-detail >> text=level")
    page.keyboard.press("End")
    assert synthetic.HOSTILE in page.locator("#log-detail").inner_text()
    page.keyboard.press("Escape")
    page.locator("#log-level").get_by_role("button", name="All").click()
    page.locator("#log-follow").click()
    monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "the newest of all", "fields": {}})
    page.wait_for_selector(".log-line >> text=the newest of all")

    # The charts and what comes next.
    for name in ("Totals", "Done", "Frontier", "Workers", "Rates"):
        page.locator("#course-what").get_by_role("button", name=name).click()
    page.locator("#course-span").get_by_role("button", name="Whole crawl").click()
    page.locator(".next button").first.click()
    assert page.locator(".next button").first.get_attribute("aria-expanded") == "true"

    # The theme goes round, and stays over a load.
    for wanted in ("light", "dark"):
        page.get_by_role("button", name="Theme").click()
        assert page.locator("html").get_attribute("data-theme") == wanted
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_dead_letters_are_requeued_and_dropped_by_who_is_signed_in(opened: Tab, monitor: Running) -> None:
    page, master = opened.page, monitor.master
    assert isinstance(master, ScriptedMaster)
    opened.open("/")
    page.wait_for_selector("text=25 jobs gave up")
    page.get_by_role("button", name="Drop Timelines").first.click()
    page.get_by_role("button", name="Cancel").click()
    assert master.dropped == []

    page.get_by_role("button", name="Requeue Timelines").first.click()
    page.locator("dialog").get_by_role("button", name="Requeue").click()
    opened.expected_to_fail = True  # the browser notes an answer of 403 as an error
    page.get_by_label("Token").fill("not the token")
    page.locator("dialog").get_by_role("button", name="Sign in").click()
    page.wait_for_selector("text=this is not the token")
    opened.expected_to_fail = False
    page.get_by_label("Token").fill(TOKEN)
    page.locator("dialog").get_by_role("button", name="Sign in").click()
    page.wait_for_selector("text=1 job requeued")
    assert master.requeued == [("T", synthetic.USERS[50])]

    page.get_by_role("checkbox", name="Choose all").check()
    page.locator("#dead-tools").get_by_role("button", name="Drop").click()
    page.get_by_role("button", name="Drop for good").click()
    page.wait_for_selector("text=24 jobs dropped")
    assert len(master.dropped) == 24
    page.get_by_role("button", name="Signed in: sign out").click()
    page.wait_for_selector("[aria-label='Sign in']")


def test_the_address_with_the_token_signs_in_and_keeps_no_token(browser: Any, monitor: Running) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open(f"/#token={TOKEN}")
        opened.page.wait_for_selector("[aria-label='Signed in: sign out']")
        assert TOKEN not in opened.page.url
        assert opened.page.evaluate("document.cookie") == ""
        opened.page.reload()
        opened.page.wait_for_selector("[aria-label='Signed in: sign out']")


def test_posts_are_searched_narrowed_and_read(opened: Tab) -> None:
    page = opened.page
    opened.open("/inspect")
    page.wait_for_selector("text=640 posts")
    page.fill("#q", "snow")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=127 posts")
    assert page.locator(".post mark").first.inner_text() == "snow"
    page.locator(".tags button").first.click()
    until(lambda: "hashtag=" in page.url, WAIT_S)
    page.go_back()
    page.wait_for_selector("text=127 posts")
    page.get_by_label("With a place").check()
    until(lambda: "located=1" in page.url, WAIT_S)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("text=640 posts")
    page.get_by_role("button", name="Further").click()
    page.wait_for_selector("text=21 to 40 of 640")
    page.get_by_role("button", name="Open post").first.click()
    page.wait_for_selector("dialog >> text=As it was stored")
    page.keyboard.press("Escape")
    page.fill("#q", "there is no such word")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=No post fits")


def test_an_account_is_read_from_top_to_bottom(opened: Tab) -> None:
    page = opened.page
    opened.open(f"/user/{synthetic.USERS[2]}")
    page.wait_for_selector("text=130 of 130 expected")
    page.get_by_role("button", name="Further").click()
    page.wait_for_selector("text=51 to 100")
    page.get_by_role("button", name="Open post").first.click()
    page.wait_for_selector("dialog >> text=As it was stored")
    page.keyboard.press("Escape")
    page.locator("#kinds").get_by_role("button", name="Followers").click()
    page.wait_for_selector("text=1 to 200")
    page.locator("#kinds").get_by_role("button", name="Found through it").click()
    page.locator("#rows").get_by_role("link", name=synthetic.USERS[3]).click()
    page.wait_for_selector("text=found in 3 steps from a target")


def test_a_feed_that_grows_old_says_so_and_comes_back_by_itself(browser: Any, tmp_path: Path) -> None:
    with running(tmp_path) as served:
        port = urlsplit(served.url).port or 0
        served.feed.hear("stats.gauges", synthetic.document(3))
        with tab(browser, served.url) as opened:
            opened.open("/")
            opened.page.wait_for_selector(".live:has-text('live')")
            opened.page.wait_for_selector(".live:has-text('last heard')")
            served.feed.hear("stats.gauges", synthetic.document(3, 1))
            opened.page.wait_for_selector(".live[data-state=live]")
            opened.expected_to_fail = True  # the browser notes a lost connection as an error
            served.stop()
            opened.page.wait_for_selector(".live:has-text('connection lost')")
            with running(tmp_path, port=port) as again:
                again.feed.hear("stats.gauges", synthetic.document(5, 2))
                again.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "risen", "fields": {}})
                opened.page.wait_for_selector(".live[data-state=live]", timeout=30_000)
                opened.page.wait_for_selector(".log-line >> text=risen")


SCROLL = """async (place) => {
  const scroller = document.querySelector(place);
  for (let step = 0; step < 25; step += 1) {
    scroller.scrollTop = (step * 997) % (scroller.scrollHeight - scroller.clientHeight);
    await new Promise(requestAnimationFrame);
  }
}"""
STEPS = 25
MAX_MS = 100
WORK = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


@pytest.mark.serial
def test_a_thousand_workers_and_ten_thousand_lines_stay_smooth(
    browser: Any, monitor: Running, record_property: Callable[[str, object], None]
) -> None:
    """Jumping through the whole of them costs little work a jump: some 8 ms where nothing else runs."""
    with tab(browser, monitor.url) as opened:
        opened.open("/")
        opened.page.wait_for_selector("text=10,000 lines")
        probe = opened.page.context.new_cdp_session(opened.page)
        probe.send("Performance.enable")

        def worked_ms() -> float:
            metrics = {one["name"]: one["value"] for one in probe.send("Performance.getMetrics")["metrics"]}
            return 1_000 * float(sum(metrics[name] for name in WORK))

        for place in ("#workers-scroller", "#log-scroller"):
            before = worked_ms()
            opened.page.evaluate(SCROLL, place)
            jump_ms = (worked_ms() - before) / STEPS
            record_property(place, jump_ms)
            print(f"{place}: {jump_ms:.2f} ms of work a jump")
            assert jump_ms < MAX_MS, f"{place}: {jump_ms:.1f} ms of work a jump"


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63606060f80f00010401"
    "005fe5c34b0000000049454e44ae426082"
)


@pytest.mark.parametrize("reached", [True, False])
def test_graphite_draws_where_there_is_one_and_we_where_it_fails(browser: Any, tmp_path: Path, reached: bool) -> None:
    with running(tmp_path, graphite_url="http://127.0.0.1:9") as served:
        for second in range(3):
            served.feed.hear("stats.gauges", synthetic.document(3, second))
        page = browser.new_page()
        if reached:
            answer = {"status": 200, "content_type": "image/png", "body": PIXEL}
            page.route("http://127.0.0.1:9/render**", lambda route: route.fulfill(**answer))
        page.goto(served.url)
        if reached:
            page.wait_for_selector("img[alt='Rates, drawn by Graphite']")
            asked = page.locator("#course-plot img").get_attribute("src")
            assert "target=" in asked
            assert "timeline.total_fetched" in asked
        else:
            page.wait_for_selector("text=Graphite cannot be reached")
            served.feed.hear("stats.gauges", synthetic.document(3, 4))
            page.wait_for_selector("#course-plot canvas")
        page.close()
