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
        budgets.hear(0.0, said, 0.0)
    assert budgets.last(1.0, WHO, ENDPOINT) == report(5, reset_in_ms=9_000)
    budgets.hear(1.0, report(14, window=1010), 1.0)
    assert budgets.last(1.0, WHO, ENDPOINT) == report(14, window=1010)


def test_a_window_that_is_over_says_nothing() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(0), 0.0)
    assert budgets.exhausted(9.9, WHO, ENDPOINT)
    assert not budgets.exhausted(10.0, WHO, ENDPOINT)
    assert budgets.last(10.0, WHO, ENDPOINT) is None


def doubt(budgets: HeardBudgets, now: float) -> tuple[int, int, int]:
    """Requests without an answer, those of them that are counted, and the time to the reset, as a master hears it."""
    [told] = budgets.reports(now)
    return told.unanswered, told.counted, told.reset_in_ms


def test_a_request_without_an_answer_is_in_doubt_until_a_later_one_is_answered() -> None:
    budgets = HeardBudgets()
    budgets.unanswered(0.0, WHO, ENDPOINT)
    assert doubt(budgets, 0.0) == (1, 0, 0), "also where nothing is known of a limit"
    budgets.hear(1.0, report(5), sent_at=1.0)
    budgets.unanswered(2.0, WHO, ENDPOINT)
    budgets.unanswered(3.0, WHO, ENDPOINT)
    assert doubt(budgets, 3.0) == (3, 1, 8_000)
    budgets.hear(4.0, report(4, reset_in_ms=7_000), sent_at=2.5)
    assert doubt(budgets, 4.0) == (3, 2, 7_000), "the second was given up after this one was sent"
    assert doubt(budgets, 11.0) == (3, 2, 0), "the service may count it in the next window"
    budgets.hear(12.0, report(14, window=1010), sent_at=11.0)
    assert doubt(budgets, 12.0) == (3, 3, 10_000)


def test_a_service_that_counts_nothing_is_never_exhausted() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, BudgetReport(WHO, ENDPOINT, -1, 0, 0, 0), 0.0)
    assert not budgets.exhausted(0.0, WHO, ENDPOINT)
    assert budgets.reports(9.0) == [BudgetReport(WHO, ENDPOINT, -1, 0, 0, 0)]
