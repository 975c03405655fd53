"""Where a repair has jobs done once more, the recording ends with what the dataset says all the same: heard event by
event or at once, before the repair or after it, killed or not, and the repair killed or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
import redis

from protocol.events import record_of
from services.stats.collecting import Collecting
from services.stats.recording.points import Oddities, points_of
from services.stats.recording.recording import Recording
from services.subscriber.consumer import Event, Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from storage.ledger.job_codec import unpack_job
from storage.ledger.transitions import Finish, LogEntry, PutBack, Wake
from tests.master.audit.test_audit import Crawl, T
from tests.master.audit.test_repair import counted, killed_at, lapse, mended, torn, without_both, without_receipt
from tests.storage.dataset.pages import draft, posts
from tests.storage.ledger.scribe import Scribe

Damage = Callable[["Told"], object]

LATER = 9
"""Records of a timeline that is fetched again, which had 5 before."""


class Told(Crawl):
    """A crawl that rests, whose ends are announced as a master does."""

    def store(self, token: str, user: str) -> None:
        self.dataset.merge(user, T, (), posts(range(5)), draft(token))
        self.end(self.scribe, token, user, 1, 5)

    @staticmethod
    def end(scribe: Scribe, token: str, user: str, step: int, records: int) -> None:
        body = msgpack.packb(["T", user, "complete", records, 0, "", "w", token])
        end = Finish(token, step, records, "complete", entry=LogEntry("job.done", body))
        assert scribe.commit(end).statuses == [1]

    def go_on(self) -> None:
        """All that is open is done, as workers do it: what has its receipt and its file is not fetched again."""
        scribe = Scribe.taking(self.ledger, "again")
        scribe.commit(*(PutBack(token, "front:T", b"", "orphaned") for token in self.ledger.held()))
        scribe.commit(*(Wake(name, "front:T") for name in self.ledger.retry()))
        for queue in ("front:T", "T"):
            for token, record in scribe.lease(queue, 50):
                job = unpack_job(record)
                receipt = self.dataset.finished(job.user, T, "main")
                records = LATER if receipt is None else receipt.received
                if receipt is None:
                    pages = posts(range(job.progress.count, LATER))
                    self.dataset.merge(job.user, T, job.progress.segments, pages, draft(token))
                self.end(scribe, token, job.user, job.progress.steps + 1, records)
        self.ledger.release(scribe.lead.incarnation, scribe.beat, ended="done")

    def events(self) -> list[Event]:
        """What was announced so far that the statistics listen to."""
        return [
            Event(sequence, topic, record_of(body))
            for sequence, _, topic, body in self.ledger.log()
            if topic in ("job.done", "master.repaired") and body
        ]


class Listener:
    """The statistics of the crawl, which die after each commit."""

    def __init__(self, crawl: Told, path: Path) -> None:
        self.crawl, self.path = crawl, path

    def _collecting(self, recording: Recording) -> Collecting:
        return Collecting(recording, FileDataset(self.crawl.dataset.output), "main")

    def come_late(self) -> None:
        """Take in the dataset, as it is now, at the end of the log."""
        with Recording(self.path) as recording:
            self._collecting(recording).resynchronise(Position("led", "inc", self.crawl.ledger.heads()[""]))

    def listen(self, at_once: int) -> None:
        """Hear what was not heard yet."""
        while True:
            with Recording(self.path) as recording:
                before = recording.position.sequence if recording.position else 0
                events = [event for event in self.crawl.events() if event.sequence > before][:at_once]
                if not events:
                    return
                self._collecting(recording).apply(events, Position("led", "inc", events[-1].sequence))

    def check(self) -> None:
        """The sum, and that of the lines, are the dataset's."""
        wanted = sum(receipt.received for receipt in self.crawl.dataset.receipts())
        with Recording(self.path) as recording:
            assert recording.counts.records[T] == wanted
        lines = points_of(self.path, Oddities())
        assert sum(int(point.value) for point in lines if point.name.startswith("stats.ops.timeline.")) == wanted


@pytest.fixture
def crawl(valkey: str, tmp_path: Path) -> Iterator[Told]:
    with redis.Redis.from_url(valkey) as client:
        crawl = Told(client, tmp_path / "data")
        lapse(crawl)
        yield crawl


def announced_too_late(crawl: Told) -> None:
    """Another job is in the dataset when the crawl comes to rest, and its end is not in the ledger yet."""
    crawl.dataset.merge("107", T, (), posts(range(6)), draft("lost"))
    without_receipt(crawl, "101")


DAMAGES: dict[str, Damage] = {
    "receipts and files gone": without_both,
    "a receipt gone": lambda crawl: without_receipt(crawl, "101"),
    "a torn file": torn,
    "a file gone": lambda crawl: crawl.dataset.path("101", RecordKind.TIMELINE).unlink(),
    "too many records counted": counted("T.records", 2),
    "a receipt gone, and another one not announced yet": announced_too_late,
    "nothing": lambda crawl: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("at_once", [1, 50])
@pytest.mark.parametrize("comes", ["first", "with the damage", "late", "before the damage, and is away", "last"])
def test_what_is_done_once_more_counts_once(crawl: Told, tmp_path: Path, damage: str, at_once: int, comes: str) -> None:
    listener = Listener(crawl, tmp_path / "crawl.gz")
    if comes in ("first", "before the damage, and is away"):
        listener.listen(at_once)
    if comes == "late":
        listener.come_late()
    DAMAGES[damage](crawl)
    if comes == "with the damage":
        listener.come_late()
    mended(crawl)
    if comes == "first":
        listener.listen(at_once)
    crawl.go_on()
    listener.listen(at_once)
    listener.check()
    assert crawl.audit().clean


def test_a_recording_is_right_after_two_repairs(crawl: Told, tmp_path: Path) -> None:
    listener = Listener(crawl, tmp_path / "crawl.gz")
    for _ in range(2):
        listener.listen(2)
        without_both(crawl)
        torn(crawl)
        mended(crawl)
        crawl.go_on()
    listener.listen(2)
    listener.check()


@pytest.mark.parametrize("between", ["nothing", "work", "the statistics"])
def test_a_repair_that_is_killed_anywhere_makes_no_sum_wrong(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    monkeypatch.setattr("master.audit.repair.CHUNK", 1)
    with redis.Redis.from_url(valkey) as client:
        commits, killed = 0, True
        while killed:
            client.flushdb()
            crawl = Told(client, tmp_path / str(commits))
            lapse(crawl)
            listener = Listener(crawl, tmp_path / f"{commits}.gz")
            listener.listen(50)
            without_both(crawl)
            torn(crawl)
            counted("T.records", 7)(crawl)
            killed = killed_at(crawl, commits, monkeypatch)
            if between == "work":
                crawl.go_on()
            if between == "the statistics":
                listener.listen(50)
            mended(crawl)
            crawl.go_on()
            listener.listen(50)
            listener.check()
            commits += 1
    assert commits > 4


def test_what_a_repair_without_a_count_says_changes_nothing(crawl: Told, tmp_path: Path) -> None:
    """That of a log with a gap, and that of an earlier version."""
    listener = Listener(crawl, tmp_path / "crawl.gz")
    listener.listen(50)
    with Recording(listener.path) as recording:
        before = recording.counts.copy()
        for record in (["the log had a gap"], ["why", {"T": -1, "F": "x", "Z": 3}], ["why", None], []):
            listener._collecting(recording).apply([Event(99, "master.repaired", record)], Position("led", "inc", 99))
        assert recording.counts == before


def test_the_list_of_what_was_counted_goes_with_the_repair(crawl: Told, tmp_path: Path) -> None:
    listener = Listener(crawl, tmp_path / "crawl.gz")
    listener.come_late()
    assert len(list(tmp_path.glob("crawl.gz.known-*"))) == 1
    without_receipt(crawl, "101")
    mended(crawl)
    listener.listen(50)
    assert list(tmp_path.glob("crawl.gz.known-*")) == []
    crawl.go_on()
    listener.listen(50)
    listener.check()
