"""The sets of accounts: every member is found, none is there twice, and every bucket keeps the compact encoding."""

from __future__ import annotations

import random

import pytest
import redis

from protocol.jobs import Job, Operation
from storage.ledger.job_codec import pack_job
from storage.ledger.ledger import AGAIN, OK, Ledger
from storage.ledger.transitions import AddAccounts, AddJobs, EmptySet, NewJob
from tests.storage.ledger.scribe import Scribe

MOST = 512
"""Members up to which the servers keep a set of integers compact."""
MANY = 120_000

KINDS = {
    "dense": list(range(1, MANY + 1)),
    "32-bit": random.Random(1).sample(range(1, 1 << 32), MANY),
    "snowflake": [n << 22 | 0xAB << 12 for n in random.Random(2).sample(range(1 << 38, 1 << 40), MANY)],
}


def put(scribe: Scribe, ids: list[int]) -> int:
    """Into the seeds, as the intake does; how many were new."""
    words = [str(number) for number in ids]
    new = 0
    for first in range(0, len(words), 4000):
        parts = [AddAccounts(words[at : at + 1000]) for at in range(first, min(first + 4000, len(words)), 1000)]
        new += sum(scribe.commit(*parts).statuses)
    return new


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_large_set_stays_compact_and_holds_each_once(
    kind: str, scribe: Scribe, ledger: Ledger, client: redis.Redis
) -> None:
    ids = KINDS[kind]
    assert put(scribe, ids) == len(ids)
    assert put(scribe, ids[::50]) == 0
    members, buckets = ledger.sizes()["seeds"]
    assert members == len(ids)
    pipe = client.pipeline(transaction=False)
    for bucket in range(buckets):
        key = f"{ledger.prefix}set:seeds:{bucket}"
        pipe.scard(key)
        pipe.object("encoding", key)
    told = pipe.execute()
    assert set(told[1::2]) == {b"intset"}
    assert max(told[::2]) < MOST
    assert sum(told[::2]) == members
    assert sorted(map(int, ledger.accounts("seeds"))) == sorted(ids)


def test_all_buckets_hold_together_what_a_split_moved(scribe: Scribe, ledger: Ledger) -> None:
    buckets = []
    for first in range(1, 3001, 100):
        put(scribe, list(range(first, first + 100)))
        buckets.append(ledger.sizes()["seeds"][1])
        assert sorted(map(int, ledger.accounts("seeds"))) == list(range(1, first + 100))
    assert buckets == sorted(buckets)
    assert buckets[-1] > 16


def test_names_that_are_no_numbers_are_members_as_well(scribe: Scribe, ledger: Ledger) -> None:
    names = [f"did:plc:{n:024x}" for n in range(2000)]
    for first in range(0, 2000, 1000):
        assert scribe.status(AddAccounts(names[first : first + 1000])) == 1000
    assert scribe.status(AddAccounts(names[:1000])) == 0
    assert sorted(ledger.accounts("seeds")) == sorted(names)


def test_a_set_that_served_is_emptied_in_parts(scribe: Scribe, ledger: Ledger, client: redis.Redis) -> None:
    ids = [str(n) for n in range(1, 1001)]
    for _ in range(3):
        scribe.commit(AddJobs("widened1", front=False, jobs=[NewJob(n, "T", b"x", "") for n in ids]), AddAccounts(ids))
    buckets = ledger.sizes()["widened1"][1]
    assert buckets > 4
    answers = [scribe.status(EmptySet("widened1", first, 3)) for first in range(0, buckets, 3)]
    assert answers == [AGAIN] * (len(answers) - 1) + [OK]
    assert not list(client.scan_iter(match="*set:widened1:*", count=1000))
    assert set(ledger.sizes()) == {"seeds"}
    assert ledger.sizes()["seeds"][0] == 1000
    assert scribe.status(AddJobs("widened1", front=False, jobs=[NewJob("1", "T", b"x", "")])) == 1
    assert list(ledger.accounts("widened1")) == ["1"]


def test_an_emptying_that_was_cut_off_is_begun_again(scribe: Scribe, ledger: Ledger) -> None:
    put(scribe, list(range(1, 2001)))
    assert scribe.status(EmptySet("seeds", 0, 3)) == AGAIN
    assert scribe.status(EmptySet("seeds", 0, 10_000)) == OK
    assert scribe.status(EmptySet("seeds", 0, 10_000)) == OK
    assert put(scribe, [1]) == 1


def test_a_set_that_grows_while_it_is_read_misses_none_of_those_that_were_in_it(scribe: Scribe, ledger: Ledger) -> None:
    before = [str(number) for number in range(1, 5001)]
    put(scribe, list(map(int, before)))
    met: set[str] = set()
    for number, account in enumerate(ledger.accounts("seeds")):
        met.add(account)
        if number % 500 == 0 and number < 5000:
            put(scribe, list(range(1_000_000 + number * 2, 1_000_000 + number * 2 + 1000)))
    assert not set(before) - met


def test_newcomers_are_marked_in_the_same_commit(scribe: Scribe, ledger: Ledger) -> None:
    lead, record = scribe.lead, pack_job(Job(Operation.TIMELINE, "1"))
    intake = AddJobs("seen", front=False, jobs=[NewJob("1", "T", record, ""), NewJob("2", "T", record, "")])
    ledger.commit(lead.incarnation, scribe.beat, [intake], [], newcomers="widened1")
    assert sorted(ledger.accounts("widened1")) == ["1", "2"]
