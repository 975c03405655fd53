"""What the monitor keeps of what it hears."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import TmaticError
from services.monitor.feed import MAX_FAILURES, Feed
from services.monitor.store import MonitorStore
from services.subscriber.consumer import Event, Position
from tests.checkout import ROOT
from tests.services.monitor import synthetic
from tests.waiting import until


def position(sequence: int, ledger: str = "ledger") -> Position:
    return Position(ledger, "incarnation", sequence)


def done(sequence: int, user: str, parent: str, depth: int) -> Event:
    return Event(sequence, "job.done", ["T", user, "complete", 3, depth, parent, "worker"])


@pytest.fixture
def feed() -> Feed:
    return Feed(MonitorStore(None), scrollback=100)


def test_a_document_is_shown_with_what_is_left_to_do(feed: Feed) -> None:
    assert feed.overview() is None
    assert feed.silent_s() is None
    feed.hear("stats.gauges", synthetic.document(12))
    seen = feed.overview()
    assert seen is not None
    assert seen["crawl"] == "autumn"
    assert seen["outlook"]["kind"] == "early"
    assert len(feed.workers()) == 12
    assert feed.silent_s() is not None
    assert feed.version == 1


@pytest.mark.parametrize("body", [None, [], 3, "text", {"operations": 3}, {"workers": [3, None, "x", {}]}])
def test_nonsense_is_heard_without_harm(feed: Feed, body: object) -> None:
    feed.hear("stats.gauges", body)
    feed.hear("log.master", body)
    feed.hear("something.else", body)
    feed.hear("stats.gauges", synthetic.document(1))
    assert feed.overview() is not None


def test_the_log_keeps_its_tail_and_numbers_go_on(feed: Feed) -> None:
    for line in synthetic.lines(250):
        feed.hear("log.master", line)
    kept = feed.lines()
    assert [line.number for line in kept] == list(range(151, 251))
    assert [line.number for line in feed.lines(after=248)] == [249, 250]
    assert feed.lines(after=250) == []
    assert feed.lines(after=9_999) == []


def test_a_line_has_a_level_that_is_known_and_a_bounded_length(feed: Feed) -> None:
    feed.hear("log.master", {"at": "2026-11-24T10:00:00.000Z", "level": "loud", "message": "x" * 90_000, "fields": {}})
    line = feed.lines()[0]
    assert line.level == "info"
    assert len(line.message) == 2_000
    assert line.at == 1_795_514_400


def test_failures_are_bounded_and_the_newest_come_first(feed: Feed) -> None:
    failed = [Event(n, "job.failed", ["F", str(n), 1, "no", "worker"]) for n in range(1, MAX_FAILURES + 51)]
    feed.apply(failed, position(900))
    count, latest = feed.failures()
    assert count == MAX_FAILURES + 50
    assert len(latest) == MAX_FAILURES
    assert latest[0].user == str(MAX_FAILURES + 50)


def test_a_failure_of_the_past_has_no_time_and_one_of_now_has(feed: Feed) -> None:
    feed.apply([Event(1, "job.dead", ["F", "1", 5, "gone", "worker"])], position(1))
    feed.hear("stats.gauges", synthetic.document(1))
    feed.apply([Event(2, "job.dead", ["F", "2", 5, "gone", "worker"])], position(2))
    _, latest = feed.failures()
    assert latest[0].at is not None
    assert latest[1].at is None


def test_the_way_to_an_account_is_known_from_the_target_on(tmp_path: Path) -> None:
    store = MonitorStore(tmp_path / "monitor.db")
    Feed(store, 10).apply([done(1, "a", "", 0), done(2, "b", "a", 1), done(3, "c", "b", 2)], position(3))
    store.close()
    again = MonitorStore(tmp_path / "monitor.db")
    assert [(step.user, step.depth) for step in again.path("c")] == [("a", 0), ("b", 1), ("c", 2)]
    assert [step.user for step in again.path("stranger")] == ["stranger"]
    assert again.led_to("a", 10) == (["b"], 1)
    assert again.position() == position(3)


def test_the_first_way_to_an_account_stays() -> None:
    store = MonitorStore(None)
    store.record([("c", "a", 1)], position(1))
    store.record([("c", "b", 7)], position(2))
    assert store.path("c")[0].user == "a"


def test_a_ring_of_parents_ends() -> None:
    store = MonitorStore(None)
    store.record([("a", "b", 1), ("b", "a", 1)], position(1))
    assert [step.user for step in store.path("a")] == ["b", "a"]


def test_another_ledger_begins_anew_and_a_trimmed_log_does_not() -> None:
    store = MonitorStore(None)
    feed = Feed(store, 10)
    feed.apply([done(1, "a", "", 0)], position(1))
    feed.resynchronise(position(500))
    assert store.path("a")[0].depth == 0
    feed.resynchronise(position(3, ledger="another"))
    assert store.path("a")[0].depth is None
    assert feed.position() == position(3, ledger="another")


def test_nothing_of_the_former_ledger_is_shown_or_kept_again() -> None:
    store = MonitorStore(None)
    feed = Feed(store, 10)
    feed.apply(synthetic.events(), position(40))
    feed.hear("stats.gauges", synthetic.document(3))
    feed.resynchronise(position(500))
    assert feed.failures()[0] == 13
    assert len(feed.course()["whole"][0]) == 1
    before = feed.failures_version
    feed.resynchronise(position(3, ledger="another"))
    feed.keep()
    assert feed.failures() == (0, [])
    assert feed.failures_version > before
    assert feed.course()["recent"][0] == []
    kept = store.course()
    assert kept is not None
    assert kept["whole"] == []


def test_the_course_survives_a_restart(tmp_path: Path) -> None:
    store = MonitorStore(tmp_path / "monitor.db")
    feed = Feed(store, 10)
    feed.hear("stats.gauges", synthetic.document(3))
    feed.keep()
    store.close()
    again = Feed(MonitorStore(tmp_path / "monitor.db"), 10)
    assert len(again.course()["whole"][0]) == 1


def test_a_file_that_is_none_of_ours_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "monitor.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(TmaticError, match="monitor's file"):
        MonitorStore(tmp_path / "monitor.db")


WRITER = """
import sys
from pathlib import Path
from services.monitor.store import MonitorStore
from services.subscriber.consumer import Position
store = MonitorStore(Path(sys.argv[1]))
place = store.position()
number = place.sequence if place else 0
while True:
    number += 1
    store.record([(f"user-{number}", "", 0)], Position("ledger", "incarnation", number))
    print(number, flush=True)
"""


def test_a_kill_leaves_as_many_accounts_as_the_position_says(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
        assert writer.stdout is not None
        for _ in range(25):
            assert writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
        store = MonitorStore(path)
        place = until(store.position, 5)
        assert place is not None
        assert store.led_to("", 0)[1] == place.sequence
        store.close()
