"""Requests without an answer: no request is sent that the service does not hold, whoever gave up what, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from master.dispatch.budgets import LATE_S, UNMETERED, Budgets, budget_key
from protocol.messages import BudgetReport
from tests.master.dispatch.limiter import SLACK_S, TRUE, WORDS, Limiter
from worker.client.heard_budgets import HeardBudgets

WHO, ENDPOINT = "address:1", "ids"
KEY = budget_key("service", WHO, ENDPOINT)
WORKERS = (b"one", b"two", b"three")


@dataclass
class Lease:
    """A thread's work: it sends one request at a time, and is over for the master when `ended` is told."""

    worker: bytes
    granted: int
    asked: int = 0
    spent: int = 0
    known: int = 0
    ended: bool = False
    waiting: Request | None = None


@dataclass
class Request:
    """On its way to the service, or in its queue; nobody waits for it any more when it is given up."""

    lease: Lease
    sent_at: float
    given_up: bool = False


@dataclass
class Message:
    """What one worker tells, as it was when it was sent."""

    worker: bytes
    reports: list[BudgetReport]
    spent: list[tuple[Lease, int]]
    ended: list[Lease] = field(default_factory=list)


class Doubts(RuleBasedStateMachine):
    """One budget, three workers, and a service that stands still now and then, and does not always answer."""

    exact = True

    @initialize(limit=st.integers(1, 8), window=st.integers(1, 60))
    def begin(self, limit: int, window: int) -> None:
        self.now, self.service = 0.0, Limiter(limit, float(window), self.exact)
        self.budgets = Budgets()
        self.heard = {worker: HeardBudgets() for worker in WORKERS}
        self.leases: list[Lease] = []
        self.queue: list[Request] = []
        self.post: list[Message] = []
        self.grant(0, 1)
        self.send(0)
        self.serve(1, cut=False, how=TRUE)
        self.tell(0)
        self.deliver()

    @rule(worker=st.integers(0, 2), most=st.integers(1, 4))
    def grant(self, worker: int, most: int) -> None:
        granted = min(most, self.budgets.available(KEY, self.now))
        if granted:
            self.budgets.grant(KEY, granted)
            self.leases.append(Lease(WORKERS[worker], granted))

    @precondition(lambda self: any(lease.waiting is None and not lease.ended for lease in self.leases))
    @rule(which=st.integers(0, 50))
    def send(self, which: int) -> None:
        """Send the next one, or end when none is left."""
        idle = [lease for lease in self.leases if lease.waiting is None and not lease.ended]
        lease = idle[which % len(idle)]
        if lease.asked == lease.granted:
            lease.ended = True
            return
        lease.asked += 1
        lease.waiting = Request(lease, self.now)
        self.queue.append(lease.waiting)

    @precondition(lambda self: self.queue)
    @rule(most=st.integers(1, 10), cut=st.booleans(), how=st.sampled_from(WORDS))
    def serve(self, most: int, cut: bool, how: str) -> None:
        """The service comes to the oldest ones, and answers, or breaks off."""
        for _ in range(min(most, len(self.queue))):
            request = self.queue.pop(0)
            self.service.count(self.now)
            if request.given_up:
                continue
            heard = self.heard[request.lease.worker]
            request.lease.waiting = None
            said = None if cut else self.service.word(self.now, WHO, ENDPOINT, how)
            if said is None:
                heard.unanswered(self.now, WHO, ENDPOINT)
                continue
            heard.hear(self.now, said, request.sent_at)
            request.lease.spent = request.lease.asked

    @precondition(lambda self: any(not request.given_up for request in self.queue))
    @rule(which=st.integers(0, 50))
    def give_up(self, which: int) -> None:
        """A time-out."""
        waiting = [request for request in self.queue if not request.given_up]
        request = waiting[which % len(waiting)]
        request.given_up, request.lease.waiting = True, None
        self.heard[request.lease.worker].unanswered(self.now, WHO, ENDPOINT)

    @rule(worker=st.integers(0, 2))
    def tell(self, worker: int) -> None:
        name = WORKERS[worker]
        own = [lease for lease in self.leases if lease.worker == name]
        ended = [lease for lease in own if lease.ended]
        message = Message(name, self.heard[name].reports(self.now), [(lease, lease.spent) for lease in own], ended)
        self.leases = [lease for lease in self.leases if lease not in ended]
        self.post.append(message)

    @precondition(lambda self: self.post)
    @rule()
    def deliver(self) -> None:
        message = self.post.pop(0)
        self.budgets.report("service", self.now, message.reports, message.worker)
        for lease, spent in message.spent:
            self.budgets.settle(KEY, spent - lease.known)
            lease.known = spent
        for lease in message.ended:
            self.budgets.settle(KEY, lease.granted - lease.known)

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        """Time passes; a service does not stand still for longer than doubts last, nor a message stay on its way."""
        if any(self.now + seconds - request.sent_at > LATE_S for request in self.queue):
            self.serve(len(self.queue), cut=False, how=TRUE)
        while self.post:
            self.deliver()
        self.now += seconds

    @invariant()
    def nothing_is_refused(self) -> None:
        assert not hasattr(self, "service") or self.service.refused == 0

    def teardown(self) -> None:
        if not hasattr(self, "budgets"):
            return
        self.serve(len(self.queue), cut=False, how=TRUE)
        for lease in self.leases:
            lease.ended = True
        for worker in range(len(WORKERS)):
            self.tell(worker)
        self.wait(0)
        self.now += LATE_S + 2 * (self.service.window + SLACK_S)
        budget = self.budgets.of(KEY)
        assert (budget.outstanding, budget.in_doubt(self.now)) == (0, 0)
        assert self.budgets.available(KEY, self.now) == self.service.limit, "doubts are over, and the budget idles"


class StrangeWords(Doubts):
    """The same with a clock that is set, and words that are missing, jitter, or cannot be true."""

    exact = False

    @rule(jobs=st.integers(1, 6), worker=st.integers(0, 2), how=st.sampled_from(WORDS))
    def work(self, jobs: int, worker: int, how: str) -> None:
        """Jobs of one request, one after the other, as far as the budget goes."""
        for _ in range(jobs):
            if self.budgets.available(KEY, self.now) and not self.queue:
                self.leases.append(lease := Lease(WORKERS[worker], 1))
                self.budgets.grant(KEY, 1)
                lease.asked, lease.waiting = 1, Request(lease, self.now)
                self.queue.append(lease.waiting)
                self.serve(1, cut=False, how=how)
                lease.ended = True
                self.tell(worker)
                self.wait(0)

    @rule()
    def wait_for_the_window(self) -> None:
        self.wait(max(0, math.ceil(self.service.ends + SLACK_S - self.now)))

    @rule(seconds=st.one_of(st.integers(-70, 70), st.sampled_from([-86_400, -3600, 3600, 86_400])))
    def set_clock(self, seconds: int) -> None:
        self.service.clock += seconds


TestDoubts = pytest.mark.slow(Doubts.TestCase)
TestDoubts.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestStrangeWords = pytest.mark.slow(StrangeWords.TestCase)
TestStrangeWords.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def unanswered(requests: int, counted: int = 0) -> BudgetReport:
    return BudgetReport(WHO, ENDPOINT, 0, 0, 0, 0, requests, counted)


def budgets_with(remaining: int) -> Budgets:
    budgets = Budgets()
    budgets.of(KEY)
    budgets.report("service", 0.0, [BudgetReport(WHO, ENDPOINT, 15, remaining, 1000, 10_000)], b"one")
    return budgets


def test_what_two_workers_are_in_doubt_of_adds_up() -> None:
    budgets = budgets_with(10)
    budgets.report("service", 0.0, [unanswered(2)], b"one")
    budgets.report("service", 0.0, [unanswered(1)], b"two")
    assert budgets.available(KEY, 1.0) == 7
    assert budgets.available(KEY, 10.0) == 12, "they may be counted in the next window"
    budgets.report("service", 10.0, [unanswered(2, 2)], b"one")
    assert budgets.available(KEY, 10.0) == 14


def test_a_doubt_is_over_when_every_window_is_in_which_it_can_have_been_counted() -> None:
    budgets = budgets_with(10)
    budgets.report("service", 1.0, [unanswered(1)], b"one")
    budgets.report("service", 3.0, [unanswered(3)], b"one")
    assert budgets.available(KEY, 1.0 + LATE_S + 10.0) == 12
    assert budgets.available(KEY, 3.0 + LATE_S + 10.0) == 13
    budgets.report("service", 40.0, [unanswered(3)], b"one")
    assert budgets.available(KEY, 40.0) == 15, "the same doubts again"
    budgets.report("service", 40.0, [unanswered(4)], b"one")
    assert budgets.available(KEY, 40.0) == 14


def test_a_worker_without_an_answer_does_not_make_a_service_metered() -> None:
    budgets = Budgets()
    budgets.of(KEY)
    budgets.report("service", 0.0, [BudgetReport(WHO, ENDPOINT, -1, 0, 0, 0)], b"one")
    budgets.report("service", 0.0, [unanswered(1)], b"two")
    assert budgets.available(KEY, 0.0) == UNMETERED


def test_words_of_doubt_that_come_late_change_nothing() -> None:
    budgets = budgets_with(10)
    for said in (unanswered(3, 1), unanswered(1), unanswered(0), unanswered(2, 1)):
        budgets.report("service", 0.0, [said], b"one")
    assert budgets.available(KEY, 1.0) == 8


def test_doubts_of_a_worker_that_is_gone_last_as_long_as_the_window() -> None:
    budgets = budgets_with(10)
    budgets.report("service", 0.0, [unanswered(3)], b"one")
    budgets.report("service", 0.0, [unanswered(1)], b"two")
    budgets.none_but({b"two"}, 1.0)
    assert budgets.available(KEY, 1.0) == 6
    assert budgets.available(KEY, 10.0) == 14


def test_the_next_leadership_knows_of_doubts() -> None:
    budgets = budgets_with(10)
    budgets.report("service", 0.0, [unanswered(3)], b"one")
    after = Budgets()
    after.inherit(budgets, {})
    assert after.available(KEY, 1.0) == 7
    after.none_but((), 1.0)
    assert after.available(KEY, 10.0) == 15
