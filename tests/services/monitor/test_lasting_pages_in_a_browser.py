"""Pages that stay open, in Chromium: over a restart of the monitor, beside another tab, unseen, and while one types."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from protocol.jobs import Operation
from services.http import Names
from services.monitor.guard import AccessGuard
from services.monitor.search import Findings, Question
from services.subscriber.consumer import Event
from storage.dataset.interface import Page, Record
from storage.dataset.receipts import ReceiptDraft
from tests.services.monitor import synthetic
from tests.services.monitor.browsing import Tab, needs_chromium, tab
from tests.services.monitor.running import TOKEN, Running, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch
from tests.waiting import until

pytestmark = [needs_chromium, pytest.mark.slow]
WAIT_S = 60.0


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as served:
        served.feed.apply(synthetic.events(), synthetic.POSITION)
        served.feed.hear("stats.gauges", synthetic.document(12))
        yield served


def tell(served: Running, second: int, dead: int = 25) -> None:
    """One more document."""
    served.feed.hear("stats.gauges", synthetic.document(12, second) | {"dead": dead})


def requeue(opened: Tab) -> None:
    """The first letter that is shown."""
    opened.page.get_by_role("button", name="Requeue Timelines").first.click()
    opened.page.locator("dialog").get_by_role("button", name="Requeue").click()


def signed_in(opened: Tab) -> None:
    opened.page.wait_for_selector("[aria-label='Signed in: sign out']")


def test_a_page_that_outlives_the_monitor_can_act_again(browser: Any, tmp_path: Path) -> None:
    with running(tmp_path) as served, tab(browser, served.url) as opened:
        tell(served, 0)
        opened.open(f"/#token={TOKEN}")
        signed_in(opened)
        opened.page.wait_for_selector("text=25 jobs gave up")
        opened.expected_to_fail = True  # the browser notes a lost connection and a 403 as errors
        served.stop()
        opened.page.wait_for_selector(".live:has-text('connection lost')")
        with running(tmp_path, port=urlsplit(served.url).port or 0) as again:
            tell(again, 1)
            opened.page.wait_for_selector("[aria-label='Sign in']", timeout=30_000)
            requeue(opened)
            opened.page.get_by_label("Token").fill(TOKEN)
            opened.page.locator("dialog").get_by_role("button", name="Sign in").click()
            opened.page.wait_for_selector("text=1 job requeued")
            assert isinstance(again.master, ScriptedMaster)
            assert len(again.master.requeued) == 1


def test_who_signs_in_in_another_tab_is_signed_in_here_too(browser: Any, monitor: Running) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open(f"/#token={TOKEN}")
        signed_in(opened)
        other = Tab(opened.page.context.new_page(), monitor.url)
        other.open(f"/#token={TOKEN}")
        signed_in(other)
        opened.expected_to_fail = True  # the browser notes an answer of 403 as an error
        requeue(opened)
        opened.page.wait_for_selector("text=1 job requeued")
        other.page.reload()
        signed_in(other)
        other.open(f"/?again#token={TOKEN}")
        signed_in(other)
        opened.page.get_by_role("button", name="Signed in: sign out").click()
        opened.page.wait_for_selector("[aria-label='Sign in']")
        other.check()


def test_a_token_in_the_address_of_an_open_page_is_used_and_a_wrong_one_is_told(browser: Any, monitor: Running) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open("/")
        opened.page.wait_for_selector("text=autumn is running")
        opened.expected_to_fail = True  # the browser notes an answer of 403 as an error
        opened.page.evaluate("location.hash = 'token=wrong'")
        opened.page.wait_for_selector("text=Not signed in: this is not the token")
        tell(monitor, 1)
        opened.page.wait_for_selector("text=31,206")
        assert opened.page.locator("#session-notice").is_visible()
        opened.page.evaluate(f"location.hash = 'token={TOKEN}'")
        signed_in(opened)
        assert not opened.page.locator("#session-notice").is_visible()
        assert "token" not in opened.page.url


@pytest.mark.parametrize("path", ["/", "/inspect", f"/user/{synthetic.USERS[2]}"])
def test_beyond_this_machine_a_page_shows_all_once_one_signs_in(browser: Any, tmp_path: Path, path: str) -> None:
    synthetic.dataset(tmp_path)
    with (
        running(tmp_path, guard=AccessGuard(Names("0.0.0.0"), TOKEN), search=ScriptedSearch()) as served,
        tab(browser, served.url) as opened,
    ):
        tell(served, 0)
        opened.expected_to_fail = True  # the browser notes an answer of 401 as an error
        opened.open(path)
        opened.page.get_by_label("Token").fill(TOKEN)
        opened.page.locator("dialog").get_by_role("button", name="Sign in").click()
        words = {"/": "autumn is running", "/inspect": "640 posts"}.get(path, "130 of 130 expected")
        opened.page.wait_for_selector(f"text={words}")


def test_the_list_of_dead_letters_is_the_one_that_there_is(browser: Any, monitor: Running) -> None:
    master = monitor.master
    assert isinstance(master, ScriptedMaster)
    with tab(browser, monitor.url) as opened:
        opened.expected_to_fail = True  # the browser notes an answer of 503 as an error
        master.trouble = "no master leads now"
        opened.open("/")
        opened.page.wait_for_selector("text=The dead letters cannot be shown: no master leads now")
        master.trouble = ""

        seconds = itertools.count(1)

        def shown() -> bool:
            tell(monitor, next(seconds))
            return bool(opened.page.get_by_text("25 shown").count())

        until(shown, 20)
        # One is requeued and another one dies within the same second: the number stays.
        master.letters = [*master.letters[1:], master.letters[0] | {"user": "777"}]
        monitor.feed.apply([Event(90, "job.dead", ["T", "777", 5, "gone", "w"])], synthetic.POSITION)
        until(lambda: shown() and opened.page.locator("#dead-scroller").get_by_text("777").count(), 20)


def test_many_letters_are_dropped_at_once_and_more_that_die_leave_the_choice(browser: Any, tmp_path: Path) -> None:
    master = ScriptedMaster(520)
    with running(tmp_path, master=master) as served, tab(browser, served.url) as opened:
        tell(served, 0, 520)
        opened.open(f"/#token={TOKEN}")
        signed_in(opened)
        for shown in ("200 shown", "400 shown"):
            opened.page.wait_for_selector(f"text={shown}")
            opened.page.get_by_role("button", name="Load more").click()
        opened.page.wait_for_selector("text=520 shown")
        opened.page.get_by_role("checkbox", name="Choose all").check()
        opened.page.wait_for_selector("text=520 chosen")
        master.letters = [{**master.letters[0], "user": "777"}, *master.letters]
        tell(served, 1, 521)
        until(lambda: opened.page.locator("#dead-scroller").get_by_text("777").count(), WAIT_S)
        opened.page.wait_for_selector("text=520 chosen")
        opened.page.locator("#dead-tools").get_by_role("button", name="Drop").click()
        opened.page.wait_for_selector("text=Drop 520 jobs?")
        opened.page.get_by_role("button", name="Drop for good").click()
        opened.page.wait_for_selector("text=520 jobs dropped")
        assert master.asked == [200, 200, 120]
        assert [letter["user"] for letter in master.letters] == ["777"]


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_that_nobody_sees_keeps_no_connection(browser: Any, monitor: Running) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open("/")
        opened.page.wait_for_selector(".live[data-state=live]")
        until(lambda: monitor.streams.open == 1, WAIT_S)
        opened.page.evaluate(HIDE, True)
        until(lambda: monitor.streams.open == 0, WAIT_S)
        monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "while unseen", "fields": {}})
        tell(monitor, 7)
        opened.page.evaluate(HIDE, False)
        opened.page.wait_for_selector(".log-line >> text=while unseen")
        opened.page.wait_for_selector(".live[data-state=live]")
        until(lambda: monitor.streams.open == 1, WAIT_S)


FOCUSED = "document.activeElement.outerHTML"


@pytest.mark.parametrize(
    "place", [".next .chip", ".failure a", "#masters-body .history", "#dead-scroller .link-like, #dead-scroller a"]
)
def test_what_has_the_focus_keeps_it(browser: Any, monitor: Running, place: str) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open("/")
        opened.page.locator(place).first.focus()
        before = opened.page.evaluate(FOCUSED)
        changed = synthetic.document(12, 50)
        changed["takeovers"].append({"ago_s": 1.0, "epoch": 5, "why": "another one"})
        monitor.feed.hear("stats.gauges", changed)
        monitor.feed.apply([Event(91, "job.failed", ["T", "778", 1, "no", "w"])], synthetic.POSITION)
        opened.page.wait_for_selector("text=epoch 5: another one")
        opened.page.wait_for_selector("text=14 heard")
        if "history" in place:
            assert opened.page.evaluate("document.activeElement.className") == "history"
        else:
            assert opened.page.evaluate(FOCUSED) == before


def test_who_scrolls_the_log_back_does_not_follow_it(browser: Any, monitor: Running) -> None:
    for line in synthetic.lines(900):
        monitor.feed.hear("log.master", line)
    with tab(browser, monitor.url) as opened:
        page = opened.page
        opened.open("/")
        page.wait_for_selector("text=900 lines")

        def follows() -> bool:
            return bool(page.locator("#log-follow").get_attribute("aria-pressed") == "true")

        assert follows()
        page.evaluate("document.querySelector('#log-scroller').scrollTop -= 400")
        until(lambda: not follows(), WAIT_S)
        place = page.evaluate("document.querySelector('#log-scroller').scrollTop")
        monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "one more", "fields": {}})
        page.wait_for_selector("text=901 lines")
        assert page.evaluate("document.querySelector('#log-scroller').scrollTop") == place
        page.evaluate("document.querySelector('#log-scroller').scrollTop = 1e9")
        until(follows, WAIT_S)
        monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "the last of all", "fields": {}})
        page.wait_for_selector(".log-line >> text=the last of all")


def test_a_hostile_post_stops_no_page_and_keeps_its_digits(browser: Any, tmp_path: Path) -> None:
    kept = synthetic.dataset(tmp_path)
    number = 1_262_348_791_234_567_891
    post = {"id": number, "created_at": 1e20, "text": "when was that", "user": {"id": number}}
    page = Page((Record(str(number), orjson.dumps(post)),))
    kept.merge(synthetic.USERS[6], Operation.TIMELINE, [], page, ReceiptDraft("autumn", expected=1))
    with running(tmp_path) as served, tab(browser, served.url) as opened:
        opened.open(f"/user/{synthetic.USERS[6]}")
        opened.page.wait_for_selector("text=when was that")
        opened.page.get_by_role("button", name="Open post").click()
        opened.page.wait_for_selector("dialog >> text=As it was stored")
        stored = opened.page.locator("dialog pre").inner_text()
        assert f'"id": {number},' in stored
        assert orjson.loads(stored) == post
        assert opened.page.get_by_role("link", name=f"Account {number}").count() == 1


class ManyPlaces(ScriptedSearch):
    """An index with more posts with a place than a map is given."""

    def search(self, question: Question) -> Findings:
        found = super().search(question)
        found.located[:] = (found.located * 10)[:1_000]
        return Findings(found.total, found.hits, found.histogram, found.hashtags, found.located, True)


def test_times_are_those_that_are_asked_by_and_a_part_is_called_a_part(browser: Any, tmp_path: Path) -> None:
    with running(tmp_path, search=ManyPlaces()) as served:
        told = []
        for zone in ("Pacific/Kiritimati", "Pacific/Midway"):
            with tab(browser, served.url, zone=zone) as opened:
                opened.open("/inspect")
                opened.page.wait_for_selector("text=the newest 1,000 posts with a place")
                told.append([opened.page.locator(place).inner_text() for place in ("#time-words", "#posts")])
        assert told[0] == told[1]
        assert "in UTC" in told[0][0]
