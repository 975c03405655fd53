"""A dead letter that is tried again gives back what it had cut off: a list, its analysis, and what that leads to.

One account, and every order of what may befall its list and its analysis, over the real script on a real server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from master.admin.dead_letters import requeued
from master.audit.audit import audit
from master.dispatch.leases import Lease
from master.dispatch.transitions import Transitions
from master.frontier.plan import Plan
from master.frontier.traversal import Traversal, Traversing
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.jobs import Job, Operation, Outcome
from storage.dataset.files.dataset import FileDataset
from storage.dataset.receipts import ReceiptDraft
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import OK, STALE, Ledger
from storage.ledger.transitions import AddJobs, GiveUp, HandOut, LogEntry, NewJob, Remember, SettleLetter
from tests.storage.ledger.scribe import Scribe

F, A = Operation.FOLLOWER, Operation.ANALYSE
USER, FOUND, DEPTH = "7", "8", 1


class Account:
    """One account at depth 1 of a walk by levels, as a leader's transitions move it."""

    def __init__(self, client: redis.Redis, folder: Path, operations: tuple[Operation, ...] = (F, A)) -> None:
        client.flushdb()
        self.ledger, self.dataset = Ledger(client, "main"), FileDataset(folder)
        self.scribe = Scribe.taking(self.ledger)
        self.walk = Traversal((F, A), Traversing.BFS, 3)
        self.transitions = Transitions(self.walk, CrawlPolicy(crawl="main", service="s", job_tries=1, job_lapses=1))
        self.listed = False
        self.hands: dict[Operation, Lease] = {}
        self.saw_list = False
        plan = Plan((F, A), Traversing.BFS, 3)
        self.scribe.commit(*(Remember(name, value) for name, value in plan.remembered().items()))
        job = Job(operations[0], USER, DEPTH, "", operations[1:])
        self.scribe.commit(
            AddJobs("seen", front=False, jobs=[NewJob(USER, self.walk.queue(job), pack_job(job), self.walk.level(job))])
        )

    def lease(self, operation: Operation) -> bool:
        queues = [f"front:{operation.value}", operation.value, *(f"A{level}" for level in range(3) if operation is A)]
        ((flat),) = self.scribe.commit(HandOut(queues, 2, "w", "b", 1)).statuses
        assert len(flat) <= 2 or {unpack_job(record).user for record in flat[1::2]} == {USER, FOUND}, "live twice"
        for token, record in zip(flat[::2], flat[1::2], strict=True):
            if (job := unpack_job(record)).user == USER:
                assert operation not in self.hands, "live twice"
                self.hands[operation] = Lease(token.decode(), job, "w", "b", 1)
                self.saw_list = self.listed if operation is A else self.saw_list
                return True
            self._end(Lease(token.decode(), job, "w", "b", 1), Outcome.NO_LIST if operation is A else Outcome.PROTECTED)
        return False

    def store(self) -> bool:
        """The list is in the dataset, and its end is not told yet."""
        self.listed = self.listed or F in self.hands
        return F in self.hands

    def done(self, operation: Operation) -> bool:
        if operation not in self.hands or (operation is F and not self.listed):
            return False
        complete = operation is F or self.saw_list
        self._end(self.hands.pop(operation), Outcome.COMPLETE if complete else Outcome.NO_LIST)
        return True

    def _end(self, hand: Lease, outcome: Outcome) -> None:
        job = hand.job
        self.dataset.record_outcome(job.user, job.operation, ReceiptDraft("main", outcome, tokens=(hand.token,)))
        found = [FOUND] if job.operation is A and outcome is Outcome.COMPLETE else []
        step = job.progress.steps + 1
        end = wire.End(hand.token, wire.DONE, step, 0, outcome.value, found, 0, "", b"", 1)
        self.scribe.commit(*(one.transition for one in self.transitions.done(b"p", hand, end)))

    def die(self, operation: Operation) -> bool:
        if operation not in self.hands or (operation is F and self.listed):
            return False
        hand = self.hands.pop(operation)
        self.scribe.commit(self.transitions.failed(None, hand, hand.job.failed(), "broken").transition)
        return True

    def requeue(self, operation: Operation) -> bool:
        name = f"{operation.value}:{USER}"
        letter = self.ledger.letter(name)
        if letter is None:
            return False
        again = requeued(self.walk, name, letter)
        assert self.scribe.commit(again, again).statuses == [OK, STALE], "to say it twice changes nothing more"
        return True

    def finish(self) -> None:
        """Let all go well from here."""
        while any([self.requeue(F), self.requeue(A), self.lease(F), self.lease(A), bool(self.hands)]):
            self.store()
            for operation in tuple(self.hands):
                self.done(operation)

    def check(self) -> None:
        """All that the account leads to was found, once, and the books agree."""
        result = audit(self.ledger, self.dataset)
        assert (result.lost, result.doubled, result.differences, result.live) == ([], [], [], 0)
        receipt = self.dataset.receipt(USER, A)
        assert receipt is not None and receipt.outcome is Outcome.COMPLETE
        assert sorted(self.ledger.accounts("seen")) == [USER, FOUND]
        assert set(self.scribe.commit().levels.values()) <= {0}


@pytest.fixture
def client(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as client:
        yield client


def listless(client: redis.Redis, folder: Path) -> Account:
    """One whose list was given up, and whose analysis ended for want of it."""
    account = Account(client, folder)
    assert account.lease(F) and account.die(F) and account.lease(A) and account.done(A)
    return account


def test_a_list_that_is_tried_again_brings_its_analysis_back(client: redis.Redis, tmp_path: Path) -> None:
    account = listless(client, tmp_path)
    assert account.scribe.commit().levels == {DEPTH: 0}
    assert account.requeue(F)
    assert account.scribe.commit().levels == {DEPTH: 1}, "the levels behind it wait again"
    assert audit(account.ledger, account.dataset).clean
    account.finish()
    account.check()
    assert account.ledger.totals()["A.again"] == 1


def test_a_list_that_is_given_up_again_may_be_tried_again_as_often(client: redis.Redis, tmp_path: Path) -> None:
    account = listless(client, tmp_path)
    for _ in range(3):
        assert account.requeue(F) and account.lease(F) and account.die(F) and account.lease(A) and account.done(A)
        result = audit(account.ledger, account.dataset)
        assert (result.clean, result.dead, result.live) == (True, 1, 0)
    account.finish()
    account.check()


def test_an_analysis_that_looked_before_the_list_was_there_comes_again(client: redis.Redis, tmp_path: Path) -> None:
    account = Account(client, tmp_path)
    assert account.lease(F) and account.die(F) and account.lease(A)
    assert account.requeue(F) and account.lease(F) and account.store() and account.done(F)
    assert account.done(A), "it says that there is no list"
    account.finish()
    account.check()


def test_lists_that_a_crawl_is_widened_by_bring_analyses_back(client: redis.Redis, tmp_path: Path) -> None:
    account = Account(client, tmp_path, (A,))
    assert account.lease(A) and account.done(A)
    account.scribe.commit(AddJobs("widened1", front=False, jobs=[NewJob(USER, "F", pack_job(Job(F, USER)), "")]))
    account.finish()
    assert account.ledger.totals()["A.complete"] == 1


@pytest.mark.slow
def test_in_whatever_order_a_list_and_its_analysis_end_nothing_is_cut_off(client: redis.Redis, tmp_path: Path) -> None:
    chance = random.Random(7)
    again = 0
    for number in range(30):
        account = Account(client, tmp_path / str(number))
        acts: list[Callable[[], bool]] = [account.store]
        for act in (account.lease, account.done, account.die, account.requeue):
            acts += [partial(act, F), partial(act, A)]
        done = 0
        while done < 9:
            done += chance.choice(acts)() or chance.random() < 0.1
        account.finish()
        account.check()
        again += account.ledger.totals().get("A.again", 0)
    assert again > 6, "analyses came again in many of them"


def test_a_new_round_of_updates_takes_the_place_of_a_letter_of_the_one_before(
    client: redis.Redis, tmp_path: Path
) -> None:
    update = Job(Operation.UPDATE, USER)
    scribe = Account(client, tmp_path).scribe
    scribe.commit(AddJobs("updated1", front=False, jobs=[NewJob(USER, "U", pack_job(update), "")]))
    ((token, _),) = scribe.lease("U")
    letter = b"\x92\xa1x\xa1y"
    scribe.commit(GiveUp(token, f"U:{USER}", letter, "", b"", front=False, level="", entry=LogEntry("job.dead", b"")))
    assert scribe.commit(AddJobs("updated2", front=False, jobs=[NewJob(USER, "U", pack_job(update), "")])).dead == 0
    again = scribe.status(
        SettleLetter(f"U:{USER}", letter, "front:U", pack_job(update), "", LogEntry("job.requeued", b""))
    )
    assert again == STALE and scribe.ledger.length("U") == 1
