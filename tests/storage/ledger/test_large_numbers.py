"""Numbers beyond 2^53, which Lua cannot hold, go round unchanged: as id, as cursor, as token, as parent, as seed."""

from __future__ import annotations

import redis

from protocol.jobs import Job, Progress, Segment
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import OK, Ledger
from storage.ledger.transitions import AddAccounts, AddJobs, LogEntry, NewJob, Rest, StorePage, Wake
from tests.storage.ledger.scribe import ANALYSE, FOLLOWER, TIMELINE, Scribe, done, found, page

LARGEST = 2**63 - 1
NEAR = [str(LARGEST - n) for n in range(3)]
"""Neighbours, which are one and the same double."""


def test_neighbouring_ids_stay_apart_as_targets_and_in_every_set(scribe: Scribe, ledger: Ledger) -> None:
    assert scribe.target(*NEAR) == 3
    assert scribe.target(*NEAR) == 0
    assert scribe.status(AddAccounts(NEAR)) == 3
    assert sorted(ledger.accounts("seen")) == sorted(ledger.accounts("seeds")) == sorted(NEAR)


def test_the_largest_id_is_handed_out_with_the_largest_cursor_and_parent(scribe: Scribe, ledger: Ledger) -> None:
    segments = (Segment(f"{LARGEST}:{LARGEST}", 2**53 - 1),)
    progress = Progress(2**32 - 2, 2**48 - 2, 3, 4, str(LARGEST), segments)
    job = Job(TIMELINE, NEAR[0], 3, NEAR[1], (FOLLOWER, ANALYSE), progress)
    scribe.commit(AddJobs("seen", front=False, jobs=[NewJob(NEAR[0], "T", pack_job(job), "")]))
    [(token, record)] = scribe.lease()
    assert unpack_job(record) == job
    assert ledger.held()[token].job == job
    after = job.advanced(count=2**48 - 1, cursor=NEAR[2], segments=segments)
    step = StorePage(token, 2**32 - 1, 2**48 - 1, pack_job(after), None, None, "budget", 3)
    assert scribe.status(step) == OK
    assert ledger.held()[token].job == after
    assert ledger.totals()["T.records"] == 1
    scribe.commit(Rest(token, f"T:{NEAR[0]}", pack_job(after), LogEntry("job.failed", NEAR[0].encode())))
    assert ledger.retry() == {f"T:{LARGEST}": after}
    scribe.commit(Wake(f"T:{NEAR[0]}", "front:T"))
    assert [unpack_job(packed) for packed in ledger.queue("front:T")] == [after]
    assert ledger.log()[-1][3] == str(LARGEST).encode()


def test_the_largest_ids_are_discovered_and_collected_apart(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(
        page(token, 1, 3, found=found("T", *NEAR)), page(token, 2, 3, found=found("", *NEAR, str(LARGEST - 9)))
    )
    assert [unpack_job(record).user for record in ledger.queue("T")] == NEAR
    assert list(ledger.queue("collected")) == [str(LARGEST - 9).encode()]


def test_tokens_go_on_where_doubles_still_count(scribe: Scribe, client: redis.Redis) -> None:
    client.hset(f"{scribe.ledger.prefix}totals", "tokens", 2**53 - 4)
    scribe.target("1", "2", "3")
    tokens = [token for token, _ in scribe.lease(most=2)] + [scribe.lease()[0][0]]
    assert tokens == [f"first:{2**53 - 4 + n}" for n in (1, 2, 3)]


def test_counters_are_exact_beyond_ten_to_the_fifteenth(scribe: Scribe, ledger: Ledger, client: redis.Redis) -> None:
    client.hset(f"{scribe.ledger.prefix}totals", "T.records", LARGEST - 2**48)
    token = scribe.leased()
    scribe.commit(done(token, 1, 2**48 - 1))
    assert ledger.totals()["T.records"] == LARGEST - 1


def test_an_incarnation_made_of_digits_is_no_number(ledger: Ledger) -> None:
    for incarnation in NEAR[:2]:
        scribe = Scribe.taking(ledger, incarnation)
        scribe.target(incarnation)
        assert scribe.lease()[0][0].startswith(f"{incarnation}:")
        assert ledger.observe().incarnation == incarnation
