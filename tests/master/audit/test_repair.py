"""What was repaired and run again is whole: whatever the audit finds, `--repair` makes it find nothing, and the crawl
then does what was missing, once. Also where the repair is killed between any two of its steps.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from master.audit.audit import Audit
from master.audit.reopening import reopen
from master.audit.repair import Repaired, repair
from master.frontier.plan import Plan
from master.frontier.traversal import Traversing
from protocol.jobs import Job, Operation, Progress
from storage.dataset.interface import RecordKind
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import Reply
from storage.ledger.transitions import AddAccounts, Finish, LogEntry, PutBack, Remember, Wake
from tests.master.audit.test_audit import Crawl, T, resting_at, rewrite
from tests.storage.dataset.pages import draft, posts
from tests.storage.ledger.scribe import Scribe

Damage = Callable[[Crawl], object]


def without_receipt(crawl: Crawl, user: str) -> None:
    for path in (crawl.dataset.output / ".tmatic" / "receipts").glob(f"*/{user}.twt.*"):
        path.unlink()


def without_file(crawl: Crawl, user: str) -> None:
    crawl.dataset.path(user, RecordKind.TIMELINE).unlink()


def without_both(crawl: Crawl) -> None:
    for user in ("101", "103"):
        without_receipt(crawl, user)
        without_file(crawl, user)


def torn(crawl: Crawl) -> None:
    path = crawl.dataset.path("102", RecordKind.TIMELINE)
    path.write_bytes(path.read_bytes()[:-9])


def gap(crawl: Crawl) -> None:
    key = crawl.ledger.prefix + "log"
    crawl.client.lset(key, 3, "gone")
    crawl.client.lrem(key, 1, "gone")


def twins(crawl: Crawl) -> None:
    """A job waits twice behind others, and one that is in hand waits as well."""
    queue = crawl.ledger.prefix + "queue:T"
    crawl.client.rpush(queue, *(pack_job(Job(T, user)) for user in ("107", "107", "105")))


def counted(name: str, by: int) -> Damage:
    return lambda crawl: crawl.client.hincrby(crawl.ledger.prefix + "totals", name, by)


DAMAGES: dict[str, Damage] = {
    "receipts and files gone": without_both,
    "a receipt gone": lambda c: without_receipt(c, "101"),
    "a file gone": lambda c: without_file(c, "101"),
    "a torn file": torn,
    "a record twice": lambda c: rewrite(c, lambda lines: [*lines, lines[0]]),
    "a record gone": lambda c: rewrite(c, lambda lines: lines[1:]),
    "a waiting job gone": lambda c: c.client.delete(c.ledger.prefix + "queue:T"),
    "a resting job gone": lambda c: c.client.hdel(c.ledger.prefix + "retry", "T:106"),
    "a job in hand gone": lambda c: c.client.delete(c.ledger.prefix + "held"),
    "a letter gone": lambda c: c.client.hdel(c.ledger.prefix + "dead", "T:104"),
    "an account without a job": lambda c: c.client.sadd(c.ledger.prefix + "set:seen:0", "108"),
    "jobs twice": twins,
    "too many records counted": counted("T.records", 2),
    "an end not counted": counted("T.done", -1),
    "an end too often announced": counted("announced.job.done", 1),
    "a letter not announced": counted("announced.job.dead", -1),
    "a page too often announced": counted("announced.timeline.page", 1),
    "an account too often counted": lambda c: c.client.hincrby(c.ledger.prefix + "sets", "seen.members", 1),
    "a level that is never over": lambda c: c.client.hset(c.ledger.prefix + "levels", "2", "3"),
    "a queue that no master knows": lambda c: c.client.rename(
        c.ledger.prefix + "queue:T", c.ledger.prefix + "queue:T9"
    ),
    "a gap in the log": gap,
    "a log without its end": lambda c: c.client.rpop(c.ledger.prefix + "log"),
}


def goes_on(crawl: Crawl) -> None:
    """A master leads, and all that is open is done."""
    scribe = Scribe.taking(crawl.ledger, "again")
    scribe.commit(*(PutBack(token, "front:T", b"", "orphaned") for token in crawl.ledger.held()))
    scribe.commit(*(Wake(name, "front:T") for name in crawl.ledger.retry()))
    for queue in ("front:T", "T"):
        for token, record in scribe.lease(queue, 50):
            done = unpack_job(record).progress
            user = unpack_job(record).user
            crawl.dataset.merge(user, T, done.segments, posts(range(done.count, 5)), draft(token))
            end = Finish(token, done.steps + 1, 5, "complete", entry=LogEntry("job.done", b""))
            assert scribe.commit(end).statuses == [1]
    crawl.ledger.release(scribe.lead.incarnation, scribe.beat, ended="done")


def lapse(crawl: Crawl) -> None:
    """Nobody leads, as after the lead of a process that was killed has lapsed."""
    crawl.client.hset(crawl.ledger.prefix + "lead", mapping={"incarnation": "", "beat": "0"})


def mended(crawl: Crawl) -> Repaired:
    """What `audit --repair` does, but for what only waits in the wrong place."""
    found = crawl.audit()
    done = repair(resting_at(crawl), found)
    if found.stranded:
        reopen(resting_at(crawl))
    return done


def findings(result: Audit) -> list[str]:
    return [*result.lost, *result.doubled, *result.differences]


def is_whole_from_here(crawl: Crawl) -> None:
    """Nothing is found, nor anything to mend; nor after the crawl went on to its end."""
    assert findings(crawl.audit()) == []
    assert not mended(crawl)
    goes_on(crawl)
    result = crawl.audit()
    assert (findings(result), result.live) == ([], 0)
    assert not mended(crawl)


@pytest.fixture
def crawl(valkey: str, tmp_path: Path) -> Iterator[Crawl]:
    with redis.Redis.from_url(valkey) as client:
        crawl = Crawl(client, tmp_path)
        lapse(crawl)
        yield crawl


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_the_audit_finds_is_repaired_and_done_and_not_found_again(crawl: Crawl, damage: str) -> None:
    DAMAGES[damage](crawl)
    assert findings(crawl.audit()) != []
    mended(crawl)
    is_whole_from_here(crawl)


def test_a_crawl_that_is_damaged_twice_is_repaired_twice(crawl: Crawl) -> None:
    for _ in range(2):
        without_both(crawl)
        torn(crawl)
        assert mended(crawl).jobs == 3
        is_whole_from_here(crawl)
    kept = sorted(path.name.partition(".")[0] for path in (crawl.dataset.output / ".tmatic" / "damaged").iterdir())
    assert kept == ["102", "102"], "damaged files are kept"


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_job_that_is_live_twice_the_copy_stays_that_has_more_to_come(
    valkey: str, tmp_path: Path, order: int
) -> None:
    """And of two with as much to come, the one that has come further."""
    follower, analyse = Operation.FOLLOWER, Operation.ANALYSE
    begun = Job(T, "201", progress=Progress(1, 3, 0, 0, "more"))
    whole = Job(T, "201", chain=(follower, analyse))
    further = Job(T, "202", chain=(follower, analyse), progress=Progress(2, 0, 0, 0, "more"))
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
        crawl = Crawl.begun(client, tmp_path, range(0))
        plan = Plan((T, follower, analyse), Traversing.BFS, 0)
        crawl.scribe.commit(
            *(Remember(name, value) for name, value in plan.remembered().items()),
            AddAccounts(["201", "202"], "seen"),
        )
        lapse(crawl)
        copies = [begun, whole, Job(T, "202", chain=(follower, analyse)), further]
        client.rpush(crawl.ledger.prefix + "queue:T", *map(pack_job, copies[::order]))
        assert mended(crawl).twins == 2
        assert sorted(map(unpack_job, crawl.ledger.queue("T")), key=lambda job: job.user) == [whole, further]
        assert findings(crawl.audit()) == []


class KilledError(BaseException):
    """kill -9, as far as one process can do it to itself."""


def killed_at(crawl: Crawl, commits: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A repair that is killed behind so many commits; False where it was done before."""
    left = commits
    commit = crawl.ledger.commit

    def dying(*words: object, **more: object) -> Reply:
        nonlocal left
        if left == 0:
            raise KilledError
        left -= 1
        return commit(*words, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as dies:
        dies.setattr(crawl.ledger, "commit", dying)
        try:
            mended(crawl)
        except KilledError:
            return True
        finally:
            lapse(crawl)
    return False


@pytest.mark.slow
def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(valkey) as client:
        commits, killed = 0, True
        while killed:
            client.flushdb()
            crawl = Crawl(client, tmp_path / str(commits))
            for damage in (
                without_both,
                torn,
                gap,
                twins,
                counted("T.records", 7),
                DAMAGES["an account without a job"],
            ):
                damage(crawl)
            lapse(crawl)
            killed = killed_at(crawl, commits, monkeypatch)
            mended(crawl)
            is_whole_from_here(crawl)
            commits += 1
    assert commits > 6


def test_a_repaired_file_is_read_as_it_was(crawl: Crawl) -> None:
    path = crawl.dataset.path("102", RecordKind.TIMELINE)
    before = gzip.decompress(path.read_bytes())
    torn(crawl)
    assert mended(crawl) == Repaired(jobs=1, files=1, counts=2)
    goes_on(crawl)
    assert sorted(gzip.decompress(path.read_bytes()).splitlines()) == sorted(before.splitlines())
