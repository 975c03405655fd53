"""The audit says zero of a crawl that is whole, and names whatever was planted."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
import redis

from master.audit.audit import Audit, audit
from master.audit.reopening import reopen
from master.audit.repair import Repaired, repair
from master.commands.master import _audit_text
from master.dispatch.transitions import Transitions, without_receipt
from master.frontier.plan import Plan
from master.frontier.traversal import Traversing
from master.startup.open_crawl import OpenCrawl
from protocol import messages as wire
from protocol.errors import LedgerError
from protocol.jobs import Job, Operation, Progress, Segment
from protocol.settings.settings import Settings
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from storage.dataset.receipts import ReceiptDraft
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import (
    AddJobs,
    Finish,
    GiveUp,
    LogEntry,
    NewJob,
    Remember,
    Rest,
    StorePage,
    WithoutReceipt,
)
from tests.storage.dataset.pages import draft, posts
from tests.storage.ledger.scribe import Scribe

T = Operation.TIMELINE
DONE = ["101", "102", "103"]
"""Accounts whose timeline is stored; 104 is dead, 105 in hand with a page, 106 rests, 107 waits."""


class Crawl:
    """A crawl that rests, with a job in each state, ledger and dataset alike."""

    def __init__(self, client: redis.Redis, folder: Path) -> None:
        self._begin(client, folder, range(101, 108))
        tokens = [token for token, _ in self.scribe.lease(most=6)]
        for token, user in zip(tokens, DONE, strict=False):
            self.store(token, user)
        job = Job(T, "104", progress=Progress(tries=5))
        letter = msgpack.packb([pack_job(job), b"broken"])
        self.scribe.commit(
            GiveUp(tokens[3], "T:104", letter, "", b"", front=False, level="", entry=LogEntry("job.dead", b""))
        )
        self.page(tokens[4], "105")
        self.scribe.commit(Rest(tokens[5], "T:106", pack_job(Job(T, "106").failed()), LogEntry("job.failed", b"")))

    @classmethod
    def begun(cls, client: redis.Redis, folder: Path, users: range) -> Crawl:
        """One of which every job waits."""
        crawl = cls.__new__(cls)
        crawl._begin(client, folder, users)
        return crawl

    def _begin(self, client: redis.Redis, folder: Path, users: range) -> None:
        self.client, self.ledger, self.dataset = client, Ledger(client, "main"), FileDataset(folder)
        self.scribe = Scribe.taking(self.ledger)
        words = Plan((T,), Traversing.BFS, 0).remembered()
        self.scribe.commit(*(Remember(name, value) for name, value in words.items()))
        jobs = [NewJob(str(number), "T", pack_job(Job(T, str(number))), "") for number in users]
        self.scribe.commit(AddJobs("seen", front=False, jobs=jobs))

    def page(self, token: str, user: str) -> int:
        length = self.dataset.append(user, T, token, 0, posts(range(3), cursor="more"))
        job = Job(T, user).advanced(count=3, cursor="more", segments=(Segment(token, length),))
        step = StorePage(token, 1, 3, pack_job(job), None, LogEntry("timeline.page", b""), "budget", 3)
        self.scribe.commit(step)
        return length

    def store(self, token: str, user: str) -> None:
        length = self.page(token, user)
        self.dataset.merge(user, T, [Segment(token, length)], posts(range(3, 5)), draft(token))
        self.scribe.commit(Finish(token, 2, 5, "complete", entry=LogEntry("job.done", b"")))

    def audit(self, *, files: bool = True) -> Audit:
        return audit(self.ledger, self.dataset, files=files)


@pytest.fixture
def crawl(valkey: str, tmp_path: Path) -> Iterator[Crawl]:
    with redis.Redis.from_url(valkey) as client:
        yield Crawl(client, tmp_path)


def test_a_crawl_that_is_whole_is_clean(crawl: Crawl) -> None:
    result = crawl.audit()
    assert (result.lost, result.doubled, result.differences) == ([], [], [])
    assert result.clean
    assert (result.accounts, result.live, result.dead, result.receipts) == (7, 3, 1, 3)
    assert (result.files, result.records) == (3, 15)


def test_a_crawl_that_was_never_begun_is_clean(valkey: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey) as client:
        assert audit(Ledger(client, "main"), FileDataset(tmp_path)).clean


@pytest.mark.parametrize(
    ("state", "user", "plant"),
    [
        ("waiting", "107", lambda c: c.client.delete(c.ledger.prefix + "queue:T")),
        ("resting", "106", lambda c: c.client.hdel(c.ledger.prefix + "retry", "T:106")),
        ("in hand", "105", lambda c: c.client.delete(c.ledger.prefix + "held")),
        ("dead", "104", lambda c: c.client.hdel(c.ledger.prefix + "dead", "T:104")),
        ("never begun", "108", lambda c: c.client.sadd(c.ledger.prefix + "set:seen:0", "108")),
    ],
)
def test_a_planted_loss_is_named(crawl: Crawl, state: str, user: str, plant: Callable[[Crawl], object]) -> None:
    plant(crawl)
    result = crawl.audit()
    assert result.lost == [f"T {user} has no job, no dead letter and no receipt"], state
    assert result.lost_count == 1
    assert not result.clean


def test_a_job_that_is_live_twice_is_named(crawl: Crawl) -> None:
    crawl.client.rpush(crawl.ledger.prefix + "queue:front:T", pack_job(Job(T, "107")))
    result = crawl.audit()
    assert (result.doubled, result.doubled_count, result.lost_count) == (["job T 107 is live twice"], 1, 0)


def rewrite(crawl: Crawl, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = crawl.dataset.path("101", RecordKind.TIMELINE)
    path.write_bytes(gzip.compress(b"".join(change(gzip.decompress(path.read_bytes()).splitlines(keepends=True)))))


def test_a_record_that_stands_twice_in_a_file_is_named(crawl: Crawl) -> None:
    rewrite(crawl, lambda lines: [*lines, lines[-1]])
    result = crawl.audit()
    assert "101.twt has 1 records twice" in result.doubled[0]
    assert "has 6 records, its receipt says 5" in result.doubled[1]
    assert crawl.audit(files=False).clean, "and is what --fast does not look for"


def test_a_record_that_is_missing_in_a_file_is_named(crawl: Crawl) -> None:
    rewrite(crawl, lambda lines: lines[1:])
    result = crawl.audit()
    assert len(result.lost) == 1
    assert "101.twt has 4 records, its receipt says 5" in result.lost[0]


def test_a_file_that_is_gone_is_told(crawl: Crawl) -> None:
    crawl.dataset.path("101", RecordKind.TIMELINE).unlink()
    result = crawl.audit()
    assert not result.clean


@pytest.mark.parametrize(
    ("counter", "by", "words"),
    [
        ("T.records", 2, "T records counted by the ledger, and told by receipts: 17 and 15, a difference of 2"),
        ("T.records", -1, "T records counted by the ledger, and told by receipts: 14 and 15, a difference of -1"),
        ("announced.job.done", 1, "jobs ended, and announced: 3 and 4, a difference of -1"),
        ("announced.job.dead", -1, "dead letters, and announced: 1 and 0, a difference of 1"),
        ("announced.timeline.page", 1, "pages committed, and announced: 4 and 5, a difference of -1"),
    ],
)
def test_a_planted_difference_of_counts_is_told_with_both(crawl: Crawl, counter: str, by: int, words: str) -> None:
    crawl.client.hincrby(crawl.ledger.prefix + "totals", counter, by)
    assert crawl.audit().differences == [words]


def test_a_job_that_ended_and_is_not_counted_is_told(crawl: Crawl) -> None:
    crawl.client.hincrby(crawl.ledger.prefix + "totals", "T.done", -1)
    told = crawl.audit().differences
    assert "T jobs owed by accounts, and ended or open: 7 and 6, a difference of 1" in told


def test_a_gap_in_the_log_is_told(crawl: Crawl) -> None:
    key = crawl.ledger.prefix + "log"
    crawl.client.lset(key, 3, "gone")
    crawl.client.lrem(key, 1, "gone")
    assert crawl.audit().differences == ["the log jumps from 3 to 5"]


def test_a_log_that_lost_its_end_is_told(crawl: Crawl) -> None:
    crawl.client.rpop(crawl.ledger.prefix + "log")
    assert any("and the log's head" in words for words in crawl.audit().differences)


def test_a_member_that_no_size_knows_of_is_told(crawl: Crawl) -> None:
    crawl.client.hincrby(crawl.ledger.prefix + "sets", "seen.members", 1)
    assert "accounts counted and listed: 8 and 7, a difference of 1" in crawl.audit().differences


def test_a_receipt_alone_is_enough_for_an_outcome_without_data(crawl: Crawl) -> None:
    [(token, _)] = crawl.scribe.lease()
    crawl.dataset.record_outcome("107", T, ReceiptDraft("main", why="protected", tokens=(token,)))
    crawl.scribe.commit(Finish(token, 1, 0, "protected", entry=LogEntry("job.done", b"")))
    assert crawl.audit().clean


def test_so_many_losses_are_named_and_all_are_counted(crawl: Crawl) -> None:
    crawl.client.sadd(crawl.ledger.prefix + "set:seen:0", *range(1000, 1250))
    result = crawl.audit()
    assert (len(result.lost), result.lost_count) == (100, 250)


def test_the_document_for_machines_says_the_same(crawl: Crawl) -> None:
    document = crawl.audit().document()
    assert document["clean"] is True
    assert (document["lost_count"], document["doubled_count"], document["differences"]) == (0, 0, [])


def end_without_receipt(crawl: Crawl, pages: int = 1, *, stored: bool = False) -> str:
    """Let a worker end the next job, without a receipt, and say `stored` or not; whose it was."""
    ((token, record),) = crawl.scribe.lease()
    job = unpack_job(record)
    for step in range(1, pages):
        job = job.advanced(count=3 * step, cursor="more", segments=(Segment(token, 0),))
        crawl.scribe.commit(
            StorePage(token, step, 3 * step, pack_job(job), None, LogEntry("timeline.page", b""), "budget", 3)
        )
    receipt = None if stored else WithoutReceipt(without_receipt(T), job.user, in_it=True)
    entry = LogEntry("job.done", b"")
    crawl.scribe.commit(Finish(token, pages, 3 * pages, "complete", entry=entry, receipt=receipt))
    return job.user


@pytest.mark.parametrize("pages", [1, 4])
def test_of_workers_of_both_kinds_only_what_the_storing_ones_lost_is_lost(crawl: Crawl, pages: int) -> None:
    crawl.scribe.commit(AddJobs("seen", front=False, jobs=[NewJob("108", "T", pack_job(Job(T, "108")), "")]))
    end_without_receipt(crawl, pages)
    mixed = crawl.audit()
    assert mixed.clean and (mixed.unstored, mixed.stored, mixed.stores_nothing) == (1, 3, False)
    assert "1 of 4 jobs were ended by workers that store nothing" in _audit_text(mixed, Repaired(), 0, repairing=False)
    lost = end_without_receipt(crawl, pages, stored=True)
    result = crawl.audit()
    assert result.missing == [(T, lost)] and not result.clean


def test_a_crawl_that_stores_nothing_is_told_as_one(valkey: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey) as client:
        crawl = Crawl.begun(client, tmp_path / "data", range(201, 206))
        for pages in (1, 2, 3, 4):
            end_without_receipt(crawl, pages)
        nowhere = audit(crawl.ledger, FileDataset(tmp_path / "other"))
        assert nowhere.clean and nowhere.stores_nothing and (nowhere.missing, nowhere.live) == ([], 1)
        assert _audit_text(nowhere, Repaired(), 0, repairing=True).splitlines()[-1] == (
            "this crawl stores nothing: 4 jobs were ended by workers that keep no dataset; --repair leaves these alone"
        )
        client.delete(crawl.ledger.prefix + "queue:T")
        assert not audit(crawl.ledger, FileDataset(tmp_path / "other")).clean, "a job that is nowhere is lost here too"


def test_what_a_worker_says_and_stores_tells_whether_a_receipt_is_owed() -> None:
    def owed(*, stored: int, length: int, operation: Operation = T) -> bool:
        job = Job(operation, "7").advanced(count=3, cursor="x", segments=(Segment("t", length), Segment("old", 9)))
        end = wire.End("t", wire.DONE, 2, 5, "complete", [], 0, "", stored=stored)
        receipt = Transitions._without_receipt(job, end)
        assert receipt is None or receipt[:2] == (f"unstored.{operation.value}", "7")
        return receipt is None or not receipt.in_it

    assert owed(stored=1, length=0) and owed(stored=0, length=40), "one of another making may store and not say so"
    assert not owed(stored=0, length=0)
    assert owed(stored=1, length=0, operation=Operation.UPDATE)


def test_an_account_that_a_storing_worker_updates_owes_a_receipt_again(crawl: Crawl) -> None:
    name = without_receipt(Operation.UPDATE)
    update = NewJob("101", "U", pack_job(Job(Operation.UPDATE, "101")), "")
    for number, unstored in enumerate((True, False, False)):
        crawl.scribe.commit(AddJobs(f"updated{number}", front=False, jobs=[update]))
        ((token, _),) = crawl.scribe.lease("U")
        receipt = WithoutReceipt(name, "101", in_it=unstored)
        crawl.scribe.commit(Finish(token, 1, 3, "complete", entry=LogEntry("job.done", b""), receipt=receipt))
        assert list(crawl.ledger.accounts(name)) == (["101"] if unstored else [])


def resting_at(crawl: Crawl) -> OpenCrawl:
    return OpenCrawl(Settings(), crawl.dataset, crawl.ledger, None, crawl.ledger)


def test_what_is_nowhere_gets_a_job_again_once(crawl: Crawl) -> None:
    crawl.scribe.ledger.release(crawl.scribe.lead.incarnation, crawl.scribe.beat)
    crawl.client.sadd(crawl.ledger.prefix + "set:seen:0", 201, 202)
    crawl.client.hincrby(crawl.ledger.prefix + "sets", "seen.members", 2)
    before = crawl.audit()
    assert before.missing == [(T, "201"), (T, "202")]
    assert repair(resting_at(crawl), before).jobs == 2
    after = crawl.audit()
    assert (after.lost, after.doubled, after.differences) == ([], [], [])
    assert after.live == before.live + 2
    assert not repair(resting_at(crawl), after)


def ended(crawl: Crawl) -> None:
    crawl.ledger.release(crawl.scribe.lead.incarnation, crawl.scribe.beat, ended="done")


def test_jobs_that_are_open_in_a_crawl_that_ended_are_a_difference(crawl: Crawl) -> None:
    ended(crawl)
    result = crawl.audit()
    assert result.differences == ["3 jobs are open in a crawl that ended: say audit --repair"]
    assert (result.clean, result.stranded, result.lost_count) == (False, 3, 0)
    assert reopen(resting_at(crawl)) == 3
    assert crawl.audit().clean, "somebody begins it again"


@pytest.mark.parametrize("counted", [0, 1, -2])
def test_a_level_that_was_over_too_early_counts_its_jobs_again(valkey: str, tmp_path: Path, counted: int) -> None:
    analyse = Operation.ANALYSE
    with redis.Redis.from_url(valkey) as client:
        ledger, users = Ledger(client, "main"), [str(number) for number in range(300)]
        scribe = Scribe.taking(ledger)
        plan = Plan((analyse,), Traversing.BFS, 3)
        jobs = [NewJob(user, "A1", pack_job(Job(analyse, user, 1)), "1") for user in users]
        scribe.commit(
            *(Remember(name, value) for name, value in plan.remembered().items()),
            AddJobs("seen", front=False, jobs=jobs),
        )
        client.hset(ledger.prefix + "levels", "1", counted)
        ledger.release(scribe.lead.incarnation, scribe.beat, ended="done")
        opened = OpenCrawl(Settings(), FileDataset(tmp_path), ledger, None, ledger)
        assert audit(ledger, opened.dataset).stranded == 300
        assert reopen(opened) == 300
        again = Scribe.taking(ledger, "second")
        assert again.commit(queues=["A1"]).levels == {1: 300}
        assert sorted(unpack_job(record).user for record in ledger.queue("A1")) == sorted(users)
        result = audit(ledger, opened.dataset)
        assert (result.lost, result.doubled, result.differences) == ([], [], [])


def test_a_queue_that_no_master_looks_into_is_emptied_into_the_right_one(crawl: Crawl) -> None:
    crawl.client.rename(crawl.ledger.prefix + "queue:T", crawl.ledger.prefix + "queue:T9")
    ended(crawl)
    assert reopen(resting_at(crawl)) == 3
    assert (crawl.ledger.queue_names(), crawl.ledger.length("T")) == (["T"], 1)
    assert crawl.audit().clean


@pytest.mark.slow
def test_a_crawl_that_is_led_is_not_repaired(crawl: Crawl) -> None:
    leading = threading.Event()

    def lead() -> None:
        while not leading.wait(0.05):
            crawl.scribe.commit()

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        with pytest.raises(LedgerError, match="stop it first"):
            repair(resting_at(crawl), Audit(missing=[(T, "107")]))
    finally:
        leading.set()
        thread.join()
