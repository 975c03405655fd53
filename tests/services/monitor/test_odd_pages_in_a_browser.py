"""Pages as few see them, in Chromium: very narrow, in a system's own colours, without a master, with odd questions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from protocol.jobs import Operation
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record
from storage.dataset.receipts import ReceiptDraft
from tests.services.monitor import synthetic
from tests.services.monitor.browsing import needs_chromium, tab
from tests.services.monitor.running import Running, running
from tests.services.monitor.synthetic import ScriptedSearch

pytestmark = [needs_chromium, pytest.mark.slow]

NARROW = [320, 360]
USER = "1234567890123456789"

OUTSIDE = """(place) => [...document.querySelectorAll(place)].filter((one) => {
  const range = document.createRange();
  range.selectNodeContents(one);
  const text = range.getBoundingClientRect();
  const card = one.closest(".card, .post").getBoundingClientRect();
  const clipped = one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline";
  return text.right > card.right + 0.5 || text.left < card.left - 0.5 || clipped;
}).map((one) => one.textContent)"""
"""What stands in one of these and is cut off, or hangs over the card that it is in."""

TOUCHING = """() => [...document.querySelectorAll(".counts")].flatMap((list) => {
  const parts = [...list.querySelectorAll("dt")].map((one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return range.getBoundingClientRect();
  });
  return parts.slice(1).filter((part, at) => part.top === parts[at].top && part.left < parts[at].right + 3);
}).length"""


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    output = tmp_path_factory.mktemp("odd")
    tag = "a_hashtag_that_is_longer_than_a_telephone_is_wide_and_goes_on"
    post = {
        "id_str": "1999999999999999999",
        "created_at": "Wed Nov 01 13:08:45 +0000 2023",
        "text": "long",
        "entities": {"hashtags": [{"text": tag}]},
        "user": {"id_str": USER, "screen_name": "a_very_long_screen_name_indeed"},
    }
    page = Page((Record(post["id_str"], orjson.dumps(post)),))  # type: ignore[arg-type]
    FileDataset(output).merge(USER, Operation.TIMELINE, [], page, ReceiptDraft("autumn"))
    now = [1_790_000_000.0]
    # By a clock that stands, what was said last is never long ago, however long these tests take.
    with running(output, search=ScriptedSearch(), clock=lambda: now[0], monotonic=lambda: now[0]) as served:
        for second in range(30):
            now[0] += 1.0
            served.feed.hear("stats.gauges", synthetic.document(12, second))
        yield served


@pytest.mark.parametrize("width", NARROW)
def test_a_post_fits_into_a_narrow_page(browser: Any, monitor: Running, width: int) -> None:
    with tab(browser, monitor.url, width) as opened:
        opened.open(f"/user/{USER}")
        opened.page.wait_for_selector(".post-head time")
        assert opened.page.evaluate(OUTSIDE, ".post-head > *, .post-foot > *, .post-text") == []
        opened.open("/inspect")
        opened.page.wait_for_selector(".post-head time")
        assert opened.page.evaluate(OUTSIDE, ".post-head time") == []


WHOLE = {"full_text": "the whole text #Isola", "entities": {"hashtags": [{"text": "Isola"}]}}
CUT = {"text": "the whole…", "truncated": True, "entities": {"hashtags": []}}
READ = """async (post) => {
  const { read } = await import("/assets/post.js");
  const { text, tags } = read(post);
  return [text, tags];
}"""


@pytest.mark.parametrize(
    ("post", "text"),
    [
        (WHOLE, "the whole text #Isola"),
        ({**CUT, "extended_tweet": WHOLE}, "the whole text #Isola"),
        ({**CUT, "text": "RT @ada: the…", "retweeted_status": WHOLE}, "RT @ada: the whole text #Isola"),
        (
            {"text": "look", "quoted_status": {**WHOLE, "user": {"screen_name": "ada"}}},
            "look\nQT @ada: the whole text #Isola",
        ),
    ],
    ids=["extended", "compatible", "repost", "quote"],
)
def test_a_card_shows_the_whole_text_and_the_hashtags_of_what_a_post_repeats(
    browser: Any, monitor: Running, post: dict[str, Any], text: str
) -> None:
    with tab(browser, monitor.url, 768) as opened:
        opened.open("/")
        assert opened.page.evaluate(READ, post) == [text, ["Isola"]]


@pytest.mark.parametrize("width", [*NARROW, 768, 1001])
def test_what_is_short_stands_in_full_on_the_overview(browser: Any, monitor: Running, width: int) -> None:
    with tab(browser, monitor.url, width) as opened:
        opened.open("/")
        opened.page.wait_for_selector("text=autumn is running")
        for words in ("Standing still", "Too early to tell", "Cannot be told"):
            opened.page.evaluate(
                "(words) => { const figure = [...document.querySelectorAll('.tile .figure')].pop();"
                "figure.classList.add('text'); figure.firstChild.textContent = words; }",
                words,
            )
            assert opened.page.evaluate(
                "[...document.querySelectorAll('.tile .figure')].every((one) => one.scrollWidth <= one.clientWidth)"
            ), words
        assert opened.page.evaluate(TOUCHING) == 0


COLOURS = """(place) => [...new Set([...document.querySelectorAll(place)].map(
  (one) => getComputedStyle(one).backgroundColor))]"""
DRAWN = """async () => {
  const { kept_colour, colour } = await import("/assets/dom.js");
  const names = ["--op-timeline", "--op-analyzer", "--op-update"];
  return [names.map(kept_colour), names.map(colour)].map((all) => new Set(all).size);
}"""
HUES = """() => {
  const canvas = document.querySelector(".uplot canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = data.slice(at, at + 4);
    if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) coloured += 1;
  }
  return coloured;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_tells_by_its_colour_keeps_it_under_a_systems_own(browser: Any, monitor: Running, scheme: str) -> None:
    with tab(browser, monitor.url, 1440, scheme, forced=True) as opened:
        opened.open("/")
        opened.page.wait_for_selector(".uplot canvas")
        assert len(opened.page.evaluate(COLOURS, "#course-legend i")) == 3
        assert len(opened.page.evaluate(COLOURS, ".crew-key i")) == 3
        assert opened.page.evaluate(DRAWN) == [3, 1]
        assert opened.page.evaluate(HUES) > 100
        opened.axe()


def test_an_axis_names_each_of_its_lines(browser: Any, monitor: Running) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open("/")
        told = opened.page.evaluate(
            """async () => {
              const { compact, rate, ticks } = await import("/assets/words.js");
              const half = [0, 0.25, 0.5, 0.75, 1];
              return [ticks(half, rate), ticks(half, compact), ticks([0, 2.5, 5], compact), ticks([0, 0.2, 0.4], rate),
                ticks([0, 500, 1000], rate), ticks([0], rate), ticks([], rate), ticks([0, 20000], compact)];
            }"""
        )
        assert told[0] == told[1] == ["0", "0.25", "0.50", "0.75", "1.00"]
        assert told[2:] == [
            ["0", "2.5", "5.0"],
            ["0", "0.2", "0.4"],
            ["0", "500", "1,000"],
            ["0"],
            [],
            ["0", "20K"],
        ]


def test_a_master_that_says_nothing_any_more_is_not_said_to_run(browser: Any, tmp_path: Path) -> None:
    since = itertools.count()
    now = [0.0]
    with running(tmp_path, monotonic=lambda: now[0] + 0.001 * next(since)) as served:
        served.feed.hear("stats.gauges", synthetic.document(3))
        with tab(browser, served.url) as opened:
            opened.open("/")
            opened.page.wait_for_selector("#state-line .pill.good:has-text('running')")
            now[0] = 120.0
            opened.page.wait_for_selector("#title:has-text('autumn is not heard')")
            opened.page.wait_for_selector("#state-line .pill.warn:has-text('not heard')")
            opened.page.wait_for_selector("#pair-health.warn:has-text('not heard')")
            opened.page.wait_for_selector("#lead:has-text('As it was last heard: ')")
            assert "is not heard" in opened.page.title()
            assert opened.page.locator("#state-line .good").count() == 0
            served.feed.hear("stats.gauges", synthetic.document(3, 1))
            opened.page.wait_for_selector("#title:has-text('autumn is running')")
            opened.page.wait_for_selector("#pair-health.good")


@pytest.mark.parametrize("days", ["from=1969-12-31", "until=9999-12-31", "from=2106-01-01", "from=1960-01-01&q=x"])
def test_days_that_no_post_can_have_are_told_as_days(browser: Any, monitor: Running, days: str) -> None:
    with tab(browser, monitor.url) as opened:
        opened.open(f"/inspect?{days}")
        opened.page.wait_for_selector("text=From and until are days from 1 Jan 1970 to 30 Dec 2105")
        assert "Unix" not in opened.page.inner_text("main")
        opened.axe()
        opened.open("/inspect?from=1970-01-01&until=2105-12-30")
        opened.page.wait_for_selector("text=640 posts")
