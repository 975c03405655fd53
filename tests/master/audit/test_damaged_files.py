"""A file that is missing or damaged is found unless a job makes all of it anew, and the finding names what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import redis

from master.admin.dead_letters import settle_at_rest
from master.dispatch.transitions import without_receipt
from protocol.jobs import Job, Operation, Progress
from storage.ledger.job_codec import pack_job
from storage.ledger.transitions import Finish, LogEntry, WithoutReceipt
from tests.master.audit.test_audit import Crawl, T, resting_at
from tests.master.audit.test_repair import findings, goes_on, lapse, mended, torn, without_file
from tests.storage.dataset.pages import draft, posts
from tests.storage.ledger.scribe import Scribe

U = Operation.UPDATE


@pytest.fixture
def crawl(valkey: str, tmp_path: Path) -> Iterator[Crawl]:
    with redis.Redis.from_url(valkey) as client:
        crawl = Crawl(client, tmp_path)
        lapse(crawl)
        yield crawl


def letter(crawl: Crawl, place: str, operation: Operation, user: str = "102") -> None:
    """Plant one, as the ledger and its counts would have it."""
    packed = msgpack.packb([pack_job(Job(operation, user, progress=Progress(tries=5))), b"broken"])
    crawl.client.hset(crawl.ledger.prefix + place, f"{operation.value}:{user}", packed)


def given_up(crawl: Crawl, place: str) -> None:
    """The timeline of 102 was to be made anew, and could not."""
    letter(crawl, place, T)
    crawl.client.hincrby(crawl.ledger.prefix + "totals", "T.records", -5)


def updated(crawl: Crawl) -> None:
    crawl.dataset.merge("102", U, [], posts(range(5, 7)), draft("another"))


@pytest.mark.parametrize("place", ["dead", "dropped"])
def test_a_letter_of_one_operation_does_not_hide_the_file_of_two(crawl: Crawl, place: str) -> None:
    updated(crawl)
    letter(crawl, place, U)
    without_file(crawl, "102")
    found = crawl.audit()
    assert (found.lost_count, found.missing) == (1, [(T, "102")])
    assert mended(crawl).jobs == 1
    assert findings(crawl.audit()) == []
    goes_on(crawl)
    assert findings(crawl.audit()) == []


@pytest.mark.parametrize(("cursor", "hidden"), [("", True), (" 90", True), ("80 90", False)])
def test_only_an_update_that_brings_all_of_it_stands_for_the_file(crawl: Crawl, cursor: str, hidden: bool) -> None:
    updated(crawl)
    without_file(crawl, "102")
    crawl.client.rpush(crawl.ledger.prefix + "queue:U", pack_job(Job(U, "102", progress=Progress(1, 1, 0, 0, cursor))))
    found = crawl.audit()
    assert (found.missing == [], found.lost_count == 0) == (hidden, hidden)


@pytest.mark.parametrize("damage", [without_file, lambda crawl, _: torn(crawl)])
def test_a_file_whose_job_is_a_dead_letter_asks_for_the_letter(crawl: Crawl, damage: object) -> None:
    given_up(crawl, "dead")
    damage(crawl, "102")  # type: ignore[operator]
    found = crawl.audit()
    assert (found.lost_count, found.missing, found.damaged) == (1, [], [])
    assert "102.twt is not made anew before its dead letter is: say requeue T:102, then audit --repair" in (
        found.differences
    )
    settle_at_rest(resting_at(crawl), ["T:102"], drop=False)
    mended(crawl)
    after = crawl.audit()
    assert after.lost == [], "the damaged file is kept aside, so that the job makes it anew"
    assert not [words for words in after.differences if "letter is" in words]


@pytest.mark.parametrize("damage", [without_file, lambda crawl, _: torn(crawl)])
def test_a_letter_that_was_put_away_gives_way_to_the_job_of_a_repair(crawl: Crawl, damage: object) -> None:
    given_up(crawl, "dropped")
    damage(crawl, "102")  # type: ignore[operator]
    assert crawl.audit().missing == [(T, "102")]
    assert mended(crawl).jobs == 1
    assert (findings(crawl.audit()), list(crawl.ledger.dropped())) == ([], [])
    goes_on(crawl)
    assert findings(crawl.audit()) == []


def test_a_receipt_counts_before_the_word_of_a_worker_that_stores_and_does_not_say_so(crawl: Crawl) -> None:
    """Of another making, with one page: its end says nothing of what it stored. A repair lets the ledger forget it."""
    scribe = Scribe.taking(crawl.ledger, "foreign")
    ((token, _),) = scribe.lease()
    crawl.dataset.merge("107", T, [], posts(range(3)), draft(token))
    receipt = WithoutReceipt(without_receipt(T), "107", in_it=True)
    scribe.commit(Finish(token, 1, 3, "complete", entry=LogEntry("job.done", b""), receipt=receipt))
    lapse(crawl)
    found = crawl.audit()
    assert (findings(found), found.stored, found.unstored) == ([], 4, 0)
    without_file(crawl, "107")
    assert crawl.audit().missing == [(T, "107")]
    assert mended(crawl).jobs == 1
    goes_on(crawl)
    assert (findings(crawl.audit()), list(crawl.ledger.accounts(without_receipt(T)))) == ([], [])
