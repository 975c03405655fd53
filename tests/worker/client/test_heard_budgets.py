"""What the threads of a worker know of the service's budgets together."""

from __future__ import annotations

from protocol.messages import BudgetReport
from worker.client.heard_budgets import HeardBudgets

WHO, ENDPOINT = "host:here", "things"


def report(remaining: int, window: int = 1000, reset_in_ms: int = 10_000, limit: int = 15) -> BudgetReport:
    return BudgetReport(WHO, ENDPOINT, limit, remaining, window, reset_in_ms)


def last(budgets: HeardBudgets, now: float) -> BudgetReport:
    """The one thing that a master hears."""
    [told] = budgets.reports(now)
    return told


def test_the_lowest_word_in_the_newest_window_counts() -> None:
    budgets = HeardBudgets()
    for said in (report(9), report(5), report(7)):
        budgets.hear(0.0, said, 0.0)
    assert last(budgets, 1.0) == report(5, reset_in_ms=9_000)
    budgets.hear(1.0, report(14, window=1010, reset_in_ms=20_000), 1.0)
    assert last(budgets, 1.0) == report(14, window=1010, reset_in_ms=20_000)


def test_a_word_of_an_earlier_window_that_comes_late_rests_until_that_one_ends() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(9), 0.0)
    budgets.hear(0.0, report(0, window=900, reset_in_ms=500), 0.0)
    assert budgets.exhausted(0.4, WHO, ENDPOINT)
    assert budgets.reports(0.0) == [report(9), report(0, window=0, reset_in_ms=500)]
    assert not budgets.exhausted(0.5, WHO, ENDPOINT)
    assert last(budgets, 0.5) == report(9, reset_in_ms=9_500)


def test_words_under_a_clock_that_was_set_count_too() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(9, window=5000), 0.0)
    budgets.hear(1.0, report(0, window=1400, reset_in_ms=9_000), 1.0)
    assert budgets.exhausted(1.0, WHO, ENDPOINT)
    assert not budgets.exhausted(10.0, WHO, ENDPOINT)
    budgets.hear(11.0, report(3, window=1410), 11.0)
    assert last(budgets, 11.0) == report(3, window=1410)


def test_a_refusal_rests_and_a_rest_is_not_told_where_the_window_says_as_much() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(0), 0.0)
    budgets.refused(0.0, WHO, ENDPOINT, 10.0)
    assert last(budgets, 0.0) == report(0)
    budgets.refused(5.0, WHO, ENDPOINT, 10.0)
    assert budgets.reports(5.0) == [report(0, reset_in_ms=5_000), report(0, window=0)]
    assert budgets.exhausted(14.9, WHO, ENDPOINT)
    assert not budgets.exhausted(15.0, WHO, ENDPOINT)
    assert budgets.reports(15.0) == []


def test_a_slow_answer_does_not_pass_for_a_later_window() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(3, reset_in_ms=10_000), 0.0)
    budgets.hear(8.0, report(7, window=1001, reset_in_ms=10_000), 0.0)
    assert last(budgets, 8.0).remaining == 3


def test_a_window_that_is_over_says_nothing() -> None:
    budgets = HeardBudgets()
    budgets.hear(0.0, report(0), 0.0)
    assert budgets.exhausted(9.9, WHO, ENDPOINT)
    assert not budgets.exhausted(10.0, WHO, ENDPOINT)
    assert budgets.reports(10.0) == []


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


def test_a_service_that_refuses_without_a_word_of_limits_is_not_said_to_have_none_any_more() -> None:
    budgets = HeardBudgets()
    silent = BudgetReport(WHO, ENDPOINT, -1, 0, 0, 0)
    budgets.hear(0.0, silent, 0.0)
    budgets.refused(1.0, WHO, ENDPOINT, 3.0)
    assert budgets.reports(1.0) == [BudgetReport(WHO, ENDPOINT, 1, 0, 0, 3_000)]
    budgets.hear(5.0, silent, 5.0)
    assert not budgets.exhausted(5.0, WHO, ENDPOINT)
    assert budgets.reports(5.0) == []
