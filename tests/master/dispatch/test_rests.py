"""A rest for which the service asked, and what it says of its limits: nothing."""

from __future__ import annotations

from master.dispatch.budgets import UNMETERED, Budgets, budget_key
from protocol import messages as wire
from protocol.records import RESTS_AS_ASKED, RESTS_FOR_RATE, BudgetReport
from tests.master.dispatch.test_registration import dispatch, hello

KEY = budget_key("service", "who", "endpoint")
NO_LIMIT = BudgetReport("who", "endpoint", -1, 0, 0, 0)


def available_after(why: int, *before: BudgetReport) -> list[int]:
    """What may be granted once a rest of 10 s was told, in it and after it, and when the service gives something."""
    budgets = Budgets()
    budgets.of(KEY)
    budgets.report("service", 0.0, list(before), b"peer")
    budgets.report("service", 0.0, [BudgetReport("who", "endpoint", 1, why, 0, 10_000)], b"peer")
    seen = [budgets.available(KEY, 9.9), budgets.available(KEY, 10.0)]
    budgets.report("service", 11.0, [NO_LIMIT], b"peer")
    return [*seen, budgets.available(KEY, 11.0)]


def test_a_service_without_limits_is_one_again_when_it_has_come_back() -> None:
    assert available_after(RESTS_AS_ASKED, NO_LIMIT) == [0, UNMETERED, UNMETERED]


def test_a_service_that_put_its_first_caller_off_is_asked_by_one_until_it_gives_something() -> None:
    assert available_after(RESTS_AS_ASKED) == [0, 1, UNMETERED]


def test_a_service_that_refused_for_the_rate_is_asked_by_one_job_at_a_time() -> None:
    assert available_after(RESTS_FOR_RATE, NO_LIMIT) == [0, 1, 1]


def test_what_was_granted_to_a_caller_of_another_name_goes_back_and_holds_up_nobody() -> None:
    """A crawl that goes on with workers that call themselves otherwise."""
    leader = dispatch("old")
    leader.receive(0, b"p1", hello(run="run2", who="shared"))
    leader.receive(6, b"p1", wire.Heartbeat("run2", 4, [], []))
    leader.tick(6)
    given_back = leader.next_batch(6)
    assert given_back is not None and "old" in str(given_back)
    assert leader.budgets.available(budget_key("twitter", "shared", "T"), 6) == 1
