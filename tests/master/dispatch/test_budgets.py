"""No request is granted that the service does not hold, and none that it holds idles, however late its word comes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from master.dispatch.budgets import UNMETERED, Budgets, budget_key
from protocol.messages import BudgetReport
from protocol.rate_window import MAX_WINDOW_MS
from tests.master.dispatch.limiter import LATER, SLACK_S, TRUE, Limiter

KEY = budget_key("service", "who", "endpoint")


def report(remaining: int, *, limit: int = 15, window: int = 1000, reset_in_ms: int = 10_000) -> BudgetReport:
    return BudgetReport("who", "endpoint", limit, remaining, window, reset_in_ms)


def called_on(*endpoints: str) -> Budgets:
    """Budgets that some worker calls on."""
    budgets = Budgets()
    for endpoint in ("endpoint", *endpoints):
        budgets.of(budget_key("service", "who", endpoint))
    return budgets


def told(budgets: Budgets, now: float, said: BudgetReport) -> int:
    """What is available once this was said."""
    budgets.report("service", now, [said], b"peer")
    return budgets.available(KEY, now)


@dataclass
class Word:
    """What an answer says, which was given then; its holder had sent so many."""

    at: float
    said: BudgetReport
    spent: int

    def told(self, now: float) -> BudgetReport:
        """As a worker tells it later."""
        return self.said._replace(reset_in_ms=max(0, self.said.reset_in_ms - int((now - self.at) * 1000)))


@dataclass
class Holder:
    """A lease: what it was granted, has sent, and the leader knows to be spent."""

    granted: int
    sent: int = 0
    known: int = 0
    said: list[Word] = field(default_factory=list)


class Service(RuleBasedStateMachine):
    """A service whose windows begin with a request, holders that spend, and words that come late and out of order."""

    exact = True

    @initialize(limit=st.integers(1, 20), window=st.integers(1, 60))
    def begin(self, limit: int, window: int) -> None:
        self.now, self.service = 0.0, Limiter(limit, float(window), self.exact)
        self.budgets = Budgets()
        self.holders: list[Holder] = []
        self.late: list[Word] = []
        self.grant(5)
        assert self.holders[0].granted == 1, "before the first answer one request is granted"
        self.send(0, later=False)
        self.deliver(0, 0)

    @rule(most=st.integers(1, 6))
    def grant(self, most: int) -> None:
        granted = min(most, self.budgets.available(KEY, self.now))
        if granted:
            self.budgets.grant(KEY, granted)
            self.holders.append(Holder(granted))

    @precondition(lambda self: self.holders)
    @rule(which=st.integers(0, 50), most=st.integers(1, 6))
    def top_up(self, which: int, most: int) -> None:
        more = min(most, self.budgets.available(KEY, self.now))
        self.budgets.grant(KEY, more)
        self.holders[which % len(self.holders)].granted += more

    @precondition(lambda self: self.holders)
    @rule(which=st.integers(0, 50), later=st.booleans())
    def send(self, which: int, later: bool) -> None:
        holder = self.holders[which % len(self.holders)]
        if holder.sent == holder.granted:
            return
        self.service.count(self.now)
        holder.sent += 1
        said = self.service.word(self.now, "who", "endpoint", LATER if later else TRUE)
        assert said is not None
        holder.said.append(Word(self.now, said, holder.sent))

    @precondition(lambda self: any(holder.said for holder in self.holders))
    @rule(which=st.integers(0, 50), word=st.integers(0, 50))
    def deliver(self, which: int, word: int) -> None:
        speaking = [holder for holder in self.holders if holder.said]
        holder = speaking[which % len(speaking)]
        self.hear(holder.said.pop(word % len(holder.said)), holder)

    def hear(self, word: Word, holder: Holder | None = None) -> None:
        self.budgets.report("service", self.now, [word.told(self.now)], b"peer")
        if holder is not None and word.spent > holder.known:
            self.budgets.settle(KEY, word.spent - holder.known)
            holder.known = word.spent

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 50))
    def deliver_late(self, which: int) -> None:
        self.hear(self.late.pop(which % len(self.late)))

    @precondition(lambda self: self.holders)
    @rule(which=st.integers(0, 50))
    def end(self, which: int) -> None:
        holder = self.holders.pop(which % len(self.holders))
        if holder.said:
            self.hear(holder.said.pop(), holder)
        self.late += holder.said
        self.budgets.settle(KEY, holder.granted - holder.known)

    @precondition(lambda self: self.holders)
    @rule(which=st.integers(0, 50))
    def vanish(self, which: int) -> None:
        holder = self.holders.pop(which % len(self.holders))
        self.budgets.forfeit(KEY, holder.granted - holder.known, self.now)
        self.late += holder.said

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_refused(self) -> None:
        assert not hasattr(self, "service") or self.service.refused == 0

    def teardown(self) -> None:
        if not hasattr(self, "budgets"):
            return
        while self.holders:
            self.end(0)
        while self.late:
            self.deliver_late(0)
        budget, service = self.budgets.of(KEY), self.service
        assert budget.outstanding == 0
        current = self.now < service.ends and budget.name == service.name
        if current and not budget.forfeited:
            assert self.budgets.available(KEY, self.now) == service.left, "what the service holds idles"
        self.budgets.available(KEY, self.now)
        self.now += service.window + (0 if self.exact else SLACK_S)
        assert self.budgets.available(KEY, self.now) == service.limit, "a window is over, and its budget idles"


class StrangeClock(Service):
    """The same with a clock that is set, whole seconds, and resets that jitter."""

    exact = False

    @rule(jobs=st.integers(1, 12))
    def work(self, jobs: int) -> None:
        """Jobs of one request, one after the other, as far as the budget goes."""
        for _ in range(jobs):
            if self.budgets.available(KEY, self.now):
                self.grant(1)
                self.send(len(self.holders) - 1, later=False)
                self.end(len(self.holders) - 1)

    @rule()
    def wait_for_the_window(self) -> None:
        self.now = max(self.now, self.service.ends + SLACK_S)

    @rule(seconds=st.one_of(st.integers(-70, 70), st.sampled_from([-86_400, -3600, 3600, 86_400])))
    def set_clock(self, seconds: int) -> None:
        self.service.clock += seconds


TestService = pytest.mark.slow(Service.TestCase)
TestService.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestStrangeClock = pytest.mark.slow(StrangeClock.TestCase)
TestStrangeClock.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_before_the_first_answer_one_request_is_granted() -> None:
    budgets = called_on()
    assert budgets.available(KEY, 0) == 1
    budgets.grant(KEY, 1)
    assert budgets.available(KEY, 0) == 0


def test_what_is_granted_is_not_available_and_what_came_back_is() -> None:
    budgets = called_on()
    assert told(budgets, 0, report(10)) == 10
    budgets.grant(KEY, 4)
    assert budgets.available(KEY, 0) == 6
    budgets.settle(KEY, 4)
    assert budgets.available(KEY, 0) == 10


def test_the_lowest_word_of_a_window_holds() -> None:
    budgets = called_on()
    assert told(budgets, 0, report(5)) == 5
    assert told(budgets, 1, report(9)) == 5
    assert told(budgets, 2, report(4)) == 4


def test_a_word_of_an_earlier_window_takes_nothing_away_for_longer_than_that_one_may_last() -> None:
    budgets = called_on()
    told(budgets, 0, report(5, window=2000))
    assert told(budgets, 1, report(0, window=1000, reset_in_ms=500)) == 0
    assert budgets.available(KEY, 1.5) == 5


def test_when_the_window_is_over_the_whole_limit_is_there_less_what_is_outstanding() -> None:
    budgets = called_on()
    told(budgets, 0, report(3))
    budgets.grant(KEY, 3)
    assert budgets.available(KEY, 9.9) == 0
    assert budgets.available(KEY, 10) == 12


def test_a_word_of_a_window_that_is_over_by_our_clock_does_not_take_the_new_budget_away() -> None:
    budgets = called_on()
    told(budgets, 0, report(3))
    assert budgets.available(KEY, 10) == 15
    assert told(budgets, 10.5, report(0, reset_in_ms=1)) == 0, "it may not be over by theirs"
    assert budgets.available(KEY, 10.502) == 15


def test_a_vanished_grant_counts_as_spent_until_the_window_resets() -> None:
    budgets = called_on()
    told(budgets, 0, report(10))
    budgets.grant(KEY, 4)
    budgets.forfeit(KEY, 4, 0)
    assert budgets.available(KEY, 9.9) == 6
    assert budgets.available(KEY, 10) == 15


def test_where_nothing_is_counted_nothing_is_held_back() -> None:
    budgets = called_on()
    assert told(budgets, 0, report(-1, limit=-1)) == UNMETERED
    assert told(budgets, 1, report(7)) == 7
    assert told(budgets, 2, report(-1, limit=-1)) == 7


def test_two_who_are_counted_apart_have_a_budget_each() -> None:
    budgets = called_on()
    told(budgets, 0, report(0))
    assert budgets.available(budget_key("service", "another", "endpoint"), 0) == 1
    assert budgets.available(budget_key("service", "who", "another"), 0) == 1


def test_more_cannot_come_back_than_was_granted() -> None:
    budgets = called_on()
    budgets.grant(KEY, 1)
    with pytest.raises(AssertionError):
        budgets.settle(KEY, 2)


def test_the_next_leadership_of_a_process_knows_what_the_one_before_knew() -> None:
    before, after = called_on(), called_on()
    told(before, 0, report(10))
    before.grant(KEY, 5)
    after.grant(KEY, 2)
    after.inherit(before, {KEY: 3})
    assert after.available(KEY, 1) == 10 - 2 - 3
    assert after.available(KEY, 10) == 15 - 2


def test_the_next_reset_is_the_earliest_that_is_to_come() -> None:
    budgets = called_on("other")
    assert budgets.next_reset(0) is None
    told(budgets, 0, report(1))
    budgets.report("service", 0, [BudgetReport("who", "other", 15, 1, 1000, 5000)], b"peer")
    assert budgets.next_reset(0) == 5
    assert budgets.next_reset(6) == 10


def test_a_budget_on_which_no_worker_calls_is_not_kept() -> None:
    budgets = Budgets()
    budgets.report("service", 0, [report(10)], b"peer")
    assert not budgets.by_key


def test_a_budget_whose_holder_vanished_before_it_asked_is_there_again_after_a_window() -> None:
    budgets = called_on()
    told(budgets, 0, report(0))
    assert budgets.available(KEY, 10) == 15
    budgets.grant(KEY, 15)
    budgets.forfeit(KEY, 15, 11)
    assert budgets.available(KEY, 12) == 0
    assert budgets.available(KEY, 22) == 15


def test_what_vanished_after_a_reset_counts_in_the_window_that_follows() -> None:
    budgets = called_on()
    told(budgets, 0, report(0))
    budgets.available(KEY, 10)
    budgets.grant(KEY, 6)
    budgets.forfeit(KEY, 6, 11)
    assert told(budgets, 12, report(14, window=2000)) == 8
    assert budgets.available(KEY, 22) == 15


def test_after_a_clock_was_set_back_what_is_left_falls_and_the_next_window_counts() -> None:
    budgets = called_on()
    told(budgets, 0, report(9, window=5000))
    assert told(budgets, 1, report(8, window=1400, reset_in_ms=9_000)) == 8
    assert told(budgets, 2, report(0, window=1400, reset_in_ms=8_000)) == 0
    assert budgets.available(KEY, 10) == 15
    assert told(budgets, 11, report(3, window=1411)) == 3
    assert budgets.available(KEY, 21) == 15


def test_a_reset_that_jitters_is_that_of_the_same_window() -> None:
    budgets = called_on()
    told(budgets, 0, report(5))
    assert told(budgets, 1, report(7, window=1001)) == 5
    assert told(budgets, 2, report(2, window=1000, reset_in_ms=8_000)) == 2
    assert told(budgets, 10.5, report(1, window=1001, reset_in_ms=500)) == 1, "the later end holds"
    assert budgets.available(KEY, 11) == 15


def test_a_window_longer_than_any_is_not_believed() -> None:
    budgets = called_on()
    told(budgets, 0, report(5))
    assert told(budgets, 1, report(3, window=1_700_000_000_000, reset_in_ms=MAX_WINDOW_MS + 1)) == 5
    assert budgets.available(KEY, 10) == 15


def test_a_wrong_reset_that_can_be_true_rests_no_longer_than_it_says_and_nothing_is_sent_beyond() -> None:
    budgets = called_on()
    told(budgets, 0, report(12, window=4600, reset_in_ms=3_600_000))
    assert told(budgets, 1, report(11, window=1000)) == 0
    assert budgets.available(KEY, 11) == 12
    budgets.grant(KEY, 12)
    assert told(budgets, 12, report(0, window=1010)) == 0
    assert budgets.available(KEY, 3601) == 15 - 12


def rest(seconds: float) -> BudgetReport:
    return report(0, window=0, reset_in_ms=int(seconds * 1000))


def test_a_rest_holds_everything_back_and_is_over_whatever_is_said_meanwhile() -> None:
    budgets = called_on()
    told(budgets, 0, report(9))
    assert told(budgets, 1, rest(3)) == 0
    assert told(budgets, 2, report(14, window=2000, reset_in_ms=20_000)) == 0
    assert told(budgets, 2, rest(1)) == 0, "the longer one holds"
    assert budgets.next_reset(2) == 22
    assert budgets.available(KEY, 4) == 14
    assert told(budgets, 5, rest(60)) == 0
    assert budgets.available(KEY, 64.9) == 0
    assert budgets.available(KEY, 65) == 15


def test_a_service_that_refuses_without_a_word_of_limits_is_asked_by_one_at_a_time() -> None:
    budgets = called_on()
    assert told(budgets, 0, report(-1, limit=-1)) == UNMETERED
    assert told(budgets, 1, rest(3)) == 0
    assert told(budgets, 2, report(-1, limit=-1)) == 0
    assert told(budgets, 4, report(-1, limit=-1)) == 1
    budgets.grant(KEY, 1)
    assert told(budgets, 5, report(-1, limit=-1)) == 0


def test_what_vanished_between_windows_outlasts_a_short_word_of_the_one_before() -> None:
    budgets = called_on()
    told(budgets, 0, report(0))
    budgets.available(KEY, 10)
    budgets.grant(KEY, 6)
    budgets.forfeit(KEY, 6, 11)
    assert told(budgets, 11, report(2, window=1001, reset_in_ms=1_000)) == 0
    assert budgets.available(KEY, 12) == 9
    assert budgets.available(KEY, 21) == 15


def test_what_vanished_is_over_with_its_window_and_not_with_a_wrong_word_of_a_later_one() -> None:
    for seconds, held in [(1, 3), (9, 0)]:
        budgets = called_on()
        told(budgets, 0, report(10))
        budgets.grant(KEY, 3)
        budgets.forfeit(KEY, 3, 0)
        assert told(budgets, seconds, report(9, window=4600, reset_in_ms=3_600_000)) == 9 - held
