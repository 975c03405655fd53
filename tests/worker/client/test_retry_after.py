"""When the service says when to come back: nobody comes sooner, no job is held for it, and no value ends a crawl."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from protocol.messages import BudgetReport
from protocol.records import RESTS_AS_ASKED, RESTS_FOR_RATE
from tests.worker.client.test_retrying_client import WHO, Lease, limits
from tests.worker.scripted import Reply, Scripted
from worker.client import retrying_client
from worker.client.allowance import GrantEmptyError
from worker.client.heard_budgets import HeardBudgets
from worker.client.http import HttpClient
from worker.client.retry_after import MAX_WAIT_S, retry_after_s, service_time
from worker.client.retrying_client import ClientContext, RetryPolicy, ServiceError

AT = 1_700_000_000
"""Our wall clock at the arrival of an answer."""
DAYS = st.integers(-400 * 86_400, 400 * 86_400)


@pytest.fixture
def client_context() -> ClientContext:
    return ClientContext(HttpClient("t"), RetryPolicy(max_attempts=4, timeout_factor_s=1.2, toomany_sleep_s=7.0))


@pytest.fixture(autouse=True)
def no_rest_with_a_job_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that slept for as long as the service says would hang."""
    monkeypatch.setattr(retrying_client, "FIRST_REST_S", 0.001)


def after(text: str, **more: str) -> float:
    return retry_after_s({"Retry-After": text} | more, AT)


@given(st.integers(0, 10**30))
def test_seconds_count_from_the_arrival_and_a_day_at_most(seconds: int) -> None:
    assert after(str(seconds)) == min(seconds, MAX_WAIT_S)


@given(DAYS, DAYS)
def test_a_date_counts_from_the_answers_own_date_whatever_our_clock_shows(skew_s: int, lies_s: int) -> None:
    theirs = AT + skew_s
    told = after(formatdate(theirs + lies_s, usegmt=True), Date=formatdate(theirs, usegmt=True))
    assert told == min(max(0, lies_s), MAX_WAIT_S)


@given(DAYS)
def test_a_date_without_a_date_to_count_from_counts_from_our_clock(lies_s: int) -> None:
    assert after(formatdate(AT + lies_s, usegmt=True)) == min(max(0, lies_s), MAX_WAIT_S)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_it_says_the_wait_is_bounded(text: str, date: str) -> None:
    assert 0 <= after(text, Date=date) <= MAX_WAIT_S


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "soon", "²", "Fri, 99 Foo 2024 00:00:00 GMT", "0", "000"])
def test_what_is_no_time_to_come_is_not_waited_for(text: str) -> None:
    assert after(text) == 0


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_of_a_date_mean_the_same_in_every_zone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert service_time(text) == 784_111_777
    finally:
        monkeypatch.undo()
        time.tzset()


def rest(lease: Lease) -> BudgetReport:
    """The rest that a master hears of."""
    [told] = [one for one in lease.budgets.reports(time.monotonic()) if not one.window and one.reset_in_ms]
    return told


def test_a_503_that_says_when_gives_the_job_back_and_rests_as_long(
    service: Scripted, client_context: ClientContext
) -> None:
    service.answers(Reply(503, headers={"Retry-After": "900"}))
    lease = Lease(service, client_context, 4)
    for _ in range(2):
        with pytest.raises(GrantEmptyError):
            lease.ask()
    assert len(service.asked) == 1, "it is not asked again before its time"
    assert 895_000 < rest(lease).reset_in_ms <= 900_000
    assert rest(lease).remaining == RESTS_AS_ASKED


def test_a_503_says_it_by_a_date_of_its_own_clock(service: Scripted, client_context: ClientContext) -> None:
    long_ago = int(time.time()) - 86_400
    headers = {"Date": formatdate(long_ago), "Retry-After": formatdate(long_ago + 60)}
    service.answers(Reply(503, headers=headers))
    lease = Lease(service, client_context, 4)
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert 55_000 < rest(lease).reset_in_ms <= 60_000


def test_a_503_that_does_not_say_is_asked_again_at_once(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(503, headers={"Retry-After": "-5"}), Reply(body=b"[2]"))
    assert Lease(service, client_context, 4).ask() == b"[2]"


def test_a_service_that_only_ever_puts_off_uses_up_the_tries(service: Scripted, client_context: ClientContext) -> None:
    """Else a page that it never gives would be asked for without end, and nobody told."""
    service.answers(Reply(503, headers={"Retry-After": "60"}))
    for _ in range(3):
        client_context.budgets = HeardBudgets()  # the rest is over
        with pytest.raises(GrantEmptyError):
            Lease(service, client_context, 1).ask()
    client_context.budgets = HeardBudgets()
    with pytest.raises(ServiceError, match="503, and asks to be left alone for 60 s; asked 4 times"):
        Lease(service, client_context, 1).ask()


@pytest.mark.parametrize(
    ("reset_in_s", "retry_after", "rests_s"),
    [(60, "900", 900), (900, "60", 900), (60, "soon", 60), (None, "30", 30), (None, "soon", 7)],
)
def test_after_a_429_the_later_of_reset_and_retry_after_counts(
    service: Scripted, client_context: ClientContext, reset_in_s: int | None, retry_after: str, rests_s: int
) -> None:
    said_of = limits(3, reset_in_s) if reset_in_s else {}
    service.answers(Reply(429, headers=said_of | {"Retry-After": retry_after}))
    lease = Lease(service, client_context, 4)
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert client_context.budgets.exhausted(time.monotonic() + rests_s - 2, WHO, "things")
    assert not client_context.budgets.exhausted(time.monotonic() + rests_s + 1, WHO, "things")


def test_why_a_budget_rests_is_told_so_that_a_service_without_limits_is_not_taken_for_one_with() -> None:
    budgets = HeardBudgets()
    budgets.leave_alone(0.0, WHO, "things", 10.0)
    assert [one.remaining for one in budgets.reports(0.0)] == [RESTS_AS_ASKED]
    budgets.refused(0.0, WHO, "things", 10.0)
    assert [one.remaining for one in budgets.reports(0.0)] == [RESTS_FOR_RATE]
