"""What the threads of a worker know of the service's budgets together."""

from __future__ import annotations

from protocol.messages import BudgetReport
from worker.budgets import HeardBudgets

WHO, ENDPOINT = "host:here", "things"


def report(remaining: int, window: int = 1000, reset_in_ms: int = 10_000, limit: int = 15) -> BudgetReport:
    return BudgetReport(WHO, ENDPOINT, limit, remaining, window, reset_in_ms)


def test_the_lowest_word_in_the_newest_window_counts() -> None:
    budgets = HeardBudgets()
    for said in (report(9), report(5), report(7), report(15, window=900)):
        budgets.hear(0.0, said)
    assert budgets.last(1.0, WHO, ENDPOINT) == report(5, reset_in_ms=9_000)
    budgets.hear(1.0, report(14, window=1010))
    assert budgets.last(1.0, WHO, ENDPOINT) == report(14, window=1010)


def test_a_window_that_is_over_says_nothing() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(0))
    assert budgets.exhausted(9.9, WHO, ENDPOINT)
    assert not budgets.exhausted(10.0, WHO, ENDPOINT)
    assert budgets.last(10.0, WHO, ENDPOINT) is None


def test_unanswered_requests_are_counted_one_by_one() -> None:
    budgets = HeardBudgets()
    assert budgets.unanswered(0.0, WHO, ENDPOINT) is None
    budgets.hear(0.0, report(1))
    assert budgets.unanswered(1.0, WHO, ENDPOINT) == report(0, reset_in_ms=9_000)
    assert budgets.unanswered(2.0, WHO, ENDPOINT) == report(0, reset_in_ms=8_000)


def test_a_request_that_was_lost_at_the_beginning_of_a_window_is_counted_in_it() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(3))
    budgets.hear(6.0, report(2, reset_in_ms=4_000))
    assert budgets.unanswered(11.0, WHO, ENDPOINT) == report(14, window=1001)
    assert budgets.unanswered(12.0, WHO, ENDPOINT) == report(13, window=1001, reset_in_ms=9_000)
    budgets.hear(12.0, report(11, window=1011))
    assert budgets.last(12.0, WHO, ENDPOINT) == report(11, window=1011), "the service's own word counts more"


def test_a_service_that_counts_nothing_is_never_exhausted() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, BudgetReport(WHO, ENDPOINT, -1, 0, 0, 0))
    assert not budgets.exhausted(0.0, WHO, ENDPOINT)
    assert budgets.unanswered(0.0, WHO, ENDPOINT) is None
