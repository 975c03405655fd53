"""A round of updates gives no account a second job: what is live already when it begins, or is requeued meanwhile, is
in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import redis

from master.admin.dead_letters import requeued
from master.frontier.live_jobs import open_jobs
from master.frontier.plan import Plan
from master.frontier.traversal import Traversing
from master.leadership.ledger_calls import Take
from master.leadership.takeover import Takeover, TakeoverRequest
from master.policy import CrawlPolicy
from master.startup.open_crawl import OpenCrawl
from protocol.jobs import Job, Operation
from protocol.settings.settings import Settings
from storage.dataset.files.dataset import FileDataset
from storage.ledger.job_codec import pack_job
from storage.ledger.ledger import OK, Ledger
from storage.ledger.transitions import AddAccounts, HandOut, Remember, Wake
from tests.storage.ledger.scribe import Scribe

U = Operation.UPDATE
PLAN = Plan((Operation.TIMELINE,), Traversing.BFS, 0, round=1)
USERS = [str(number) for number in range(1, 3501)]


@pytest.fixture
def scribe(valkey: str) -> Iterator[Scribe]:
    """Of a crawl whose first round is over: every account is known."""
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
        scribe = Scribe.taking(Ledger(client, "main"))
        scribe.commit(*(Remember(name, value) for name, value in PLAN.remembered().items()), AddAccounts(USERS, "seen"))
        yield scribe


def leads(scribe: Scribe, folder: Path) -> tuple[Scribe, Takeover, Plan]:
    """A master takes the lead for a round of updates."""
    opened = OpenCrawl(Settings(), FileDataset(folder), scribe.ledger, None, scribe.ledger)
    leading = Takeover(opened, TakeoverRequest(frozenset({U}), Traversing.BFS, 0, adopt=True), "master", CrawlPolicy())
    leadership = leading.take(Take(scribe.ledger.observe(), "second", 0, "told"))
    return Scribe(scribe.ledger, leadership.lead, leadership.beat), leading, leadership.plan


def test_updates_that_are_live_when_a_round_begins_get_no_second_job(scribe: Scribe, tmp_path: Path) -> None:
    """More than are read at once, while they are handed out; one rests, and comes back to its queue meanwhile."""
    scribe.ledger._client.rpush(scribe.ledger.prefix + "queue:front:U", *(pack_job(Job(U, user)) for user in USERS[1:]))
    resting = f"U:{USERS[0]}"
    scribe.ledger._client.hset(scribe.ledger.prefix + "retry", resting, pack_job(Job(U, USERS[0])))
    master, leading, plan = leads(scribe, tmp_path)
    assert plan.round == 2
    for transition in leading._intake(plan):
        master.commit(transition)
        master.commit(HandOut(["front:U"], 50, "w", "b", 1))
        if scribe.ledger.retry():
            master.commit(Wake(resting, "U"))
    live = Counter(job.user for job in open_jobs(scribe.ledger, U))
    assert len(live) == len(USERS) and live.total() == len(USERS)


def test_a_letter_that_is_requeued_before_its_account_is_reached_is_in_the_round(
    scribe: Scribe, tmp_path: Path
) -> None:
    letter = msgpack.packb([pack_job(Job(U, USERS[0])), b"broken"])
    scribe.ledger._client.hset(scribe.ledger.prefix + "dead", f"U:{USERS[0]}", letter)
    master, leading, plan = leads(scribe, tmp_path)
    assert master.status(requeued(plan.traversal, f"U:{USERS[0]}", letter)) == OK
    for transition in leading._intake(plan):
        master.commit(transition)
    live = Counter(job.user for job in open_jobs(scribe.ledger, U))
    assert len(live) == len(USERS) and live.total() == len(USERS)


def test_a_letter_that_is_requeued_between_two_rounds_is_in_the_next_if_it_still_waits(
    scribe: Scribe, tmp_path: Path
) -> None:
    letter = msgpack.packb([pack_job(Job(U, USERS[0])), b"broken"])
    scribe.ledger._client.hset(scribe.ledger.prefix + "dead", f"U:{USERS[0]}", letter)
    assert scribe.status(requeued(PLAN.traversal, f"U:{USERS[0]}", letter)) == OK
    assert list(scribe.ledger.accounts("updated1")) == list(scribe.ledger.accounts("updated2")) == []
    _, _, plan = leads(scribe, tmp_path)
    assert list(scribe.ledger.accounts(plan.round_family)) == [USERS[0]]
