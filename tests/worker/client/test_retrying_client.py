"""Asking until there is an answer: what a try costs, what is reported of it, when it is given up."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from protocol.messages import BudgetReport
from tests.ports import free_port
from tests.worker.scripted import Reply, Scripted
from worker.client import http, retrying_client
from worker.client.allowance import GrantEmptyError, RequestAllowance, StoppedError
from worker.client.http import Call, HttpAnswer, HttpClient
from worker.client.retrying_client import (
    ClientContext,
    RateLimitHeaders,
    RetryingClient,
    RetryPolicy,
    ServiceError,
    TroubleError,
)
from worker.sources.twitter import said

WHO = "host:here"


class Lease:
    """One lease's asking, with what it told."""

    def __init__(self, service: Scripted, client_context: ClientContext, granted: int) -> None:
        self.told: list[int] = []
        self.budgets = client_context.budgets
        self.allowance = RequestAllowance(granted)
        self.call = Call("things", service.url + "/things", {"page": "1"})
        self.asking = RetryingClient(client_context, self.allowance, WHO, lambda: "", said, self.told.append)

    def ask(self) -> bytes:
        return self.asking.ask(self.call, good)

    def report(self) -> BudgetReport:
        [report] = self.budgets.reports(time.monotonic())
        return report


def good(answer: HttpAnswer) -> bytes:
    if answer.status >= 500 or answer.body.startswith(b"<"):
        raise TroubleError(f"the service answers {answer.status}")
    return answer.body


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_client, "FIRST_REST_S", 0.001)


@pytest.fixture
def client_context() -> ClientContext:
    return ClientContext(HttpClient("t"), RetryPolicy(max_attempts=4, timeout_factor_s=1.2, toomany_sleep_s=7.0))


def limits(remaining: int, reset_in_s: int = 60, limit: int = 15) -> dict[str, str]:
    now = int(time.time())
    said_of = {"limit": limit, "remaining": remaining, "reset": now + reset_in_s}
    return {f"x-rate-limit-{name}": str(value) for name, value in said_of.items()} | {"Date": formatdate(now)}


def test_every_try_takes_one_and_counts_as_spent_with_the_next_answer(
    service: Scripted, client_context: ClientContext
) -> None:
    first, last = Reply(500, headers=limits(14)), Reply(body=b"[2]", headers=limits(11))
    service.answers(first, Reply(503), Reply(body=b"[1]", keep=1), last)
    lease = Lease(service, client_context, 4)
    assert lease.ask() == b"[2]"
    assert lease.told == [1, 4]
    assert lease.report()[-2:] == (2, 2), "no answer, and an error page of a proxy; the last answer has both"
    with pytest.raises(GrantEmptyError):
        lease.ask()


def test_after_the_last_try_the_job_fails_in_words(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(500))
    lease = Lease(service, client_context, 9)
    with pytest.raises(ServiceError, match="things: the service answers 500; asked 4 times"):
        lease.ask()
    assert len(service.asked) == 4


def test_a_page_of_html_with_200_is_tried_again(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(body=b"<html>"), Reply(body=b"[2]"))
    assert Lease(service, client_context, 4).ask() == b"[2]"


def test_an_empty_grant_ends_the_lease_and_the_tries_are_counted_on_in_the_next(
    service: Scripted, client_context: ClientContext
) -> None:
    service.answers(Reply(500))
    for _ in range(3):
        with pytest.raises(GrantEmptyError):
            Lease(service, client_context, 1).ask()
    with pytest.raises(ServiceError):
        Lease(service, client_context, 1).ask()
    assert len(service.asked) == 4


def test_no_try_is_made_beyond_the_grant(service: Scripted, client_context: ClientContext) -> None:
    with pytest.raises(GrantEmptyError):
        Lease(service, client_context, 0).ask()
    assert not service.asked


def test_what_the_service_says_of_its_budget_is_reported_with_the_answer(
    service: Scripted, client_context: ClientContext
) -> None:
    service.answers(Reply(headers=limits(13)))
    lease = Lease(service, client_context, 1)
    lease.ask()
    report = lease.report()
    assert (*lease.told, report.who, report.endpoint, report.limit, report.remaining) == (1, WHO, "things", 15, 13)
    assert 59_000 < report.reset_in_ms <= 60_000


def test_a_service_that_says_nothing_counts_nothing_that_we_can_see(
    service: Scripted, client_context: ClientContext
) -> None:
    lease = Lease(service, client_context, 1)
    lease.ask()
    assert lease.told == [1]
    assert lease.report() == BudgetReport(WHO, "things", -1, 0, 0, 0)


@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_that_does_not_say_what_is_left_of_a_budget_leaves_its_request_in_doubt(
    service: Scripted, client_context: ClientContext, status: int
) -> None:
    absurd = limits(12) | {"x-rate-limit-reset": str(time.time_ns() // 10**6)}
    service.answers(Reply(headers=limits(13)), Reply(status), Reply(status, headers=absurd), Reply(headers=limits(10)))
    lease = Lease(service, client_context, 4)
    for told, left, doubts in [([1], 13, (0, 0)), ([1], 13, (1, 0)), ([1], 13, (2, 0)), ([1, 4], 10, (2, 2))]:
        lease.ask()
        assert (lease.told, lease.report().remaining, lease.report()[-2:]) == (told, left, doubts)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404),
        Reply(headers={"X-RateLimit-Left": "3"}),
        Reply(headers=limits(12, 10**9)),
        Reply(headers=limits(12, -5)),
    ],
)
def test_a_first_answer_that_tells_no_limit_in_a_way_we_can_read_does_not_mean_that_there_is_none(
    service: Scripted, client_context: ClientContext, reply: Reply
) -> None:
    service.answers(reply, Reply(headers=limits(10)))
    lease = Lease(service, client_context, 2)
    lease.ask()
    assert (lease.told, lease.report()) == ([], BudgetReport(WHO, "things", 0, 0, 0, 0, 1, 0))
    lease.ask()
    assert (lease.told, lease.report().limit, lease.report()[-2:]) == ([2], 15, (1, 1))


def test_where_a_service_is_known_to_count_nothing_a_refusal_does_not_count_either(
    service: Scripted, client_context: ClientContext
) -> None:
    service.answers(Reply(), Reply(404))
    lease = Lease(service, client_context, 2)
    lease.ask()
    lease.ask()
    assert (lease.told, lease.report()) == ([1, 2], BudgetReport(WHO, "things", -1, 0, 0, 0))


def test_less_than_nothing_left_is_nothing(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(headers=limits(-1)))
    lease = Lease(service, client_context, 2)
    lease.ask()
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert lease.report().remaining == 0
    assert lease.report().reset_in_ms > 6000
    report = RateLimitHeaders(15, -1, 1060, 1000.0).report(WHO, "things")
    assert report is not None
    assert report.remaining == 0


def test_an_error_page_of_a_proxy_does_not_make_a_service_unlimited(
    service: Scripted, client_context: ClientContext
) -> None:
    service.answers(Reply(502, b"<html>"), Reply(headers=limits(13)))
    lease = Lease(service, client_context, 2)
    lease.ask()
    assert lease.told == [2]
    assert lease.report().limit == 15


def test_a_request_without_an_answer_is_reported_as_in_doubt(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(headers=limits(13)), Reply(body=b"[1]", keep=1), Reply(body=b"[1]", reset=True, keep=0))
    lease = Lease(service, client_context, 3)
    lease.ask()
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert lease.told == [1]
    assert (lease.report().remaining, *lease.report()[-2:]) == (13, 2, 0)


def test_a_request_that_found_no_connection_is_in_no_doubt(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(headers=limits(13)))
    lease = Lease(service, client_context, 3)
    lease.ask()
    lease.call = Call("things", f"http://127.0.0.1:{free_port()}/things", {"page": "1"})
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert lease.report()[-2:] == (0, 0)


@pytest.mark.parametrize("headers", [limits(0), limits(9)])
def test_too_many_requests_gives_the_job_back_and_empties_the_budget(
    service: Scripted, client_context: ClientContext, headers: dict[str, str]
) -> None:
    service.answers(Reply(429, headers=headers))
    lease = Lease(service, client_context, 4)
    with pytest.raises(GrantEmptyError):
        lease.ask()
    report = lease.report()
    assert report.remaining == 0
    assert 58_000 < report.reset_in_ms <= 60_000


@pytest.mark.parametrize(
    "headers", [{}, limits(0, reset_in_s=-5), limits(0, reset_in_s=10**9), {"x-rate-limit-reset": "soon"}]
)
def test_too_many_requests_without_a_date_rests_as_long_as_the_setting_says(
    service: Scripted, client_context: ClientContext, headers: dict[str, str]
) -> None:
    service.answers(Reply(429, headers=headers))
    lease = Lease(service, client_context, 4)
    with pytest.raises(GrantEmptyError):
        lease.ask()
    report = lease.report()
    assert report.remaining == 0
    assert 6000 < report.reset_in_ms <= 7000
    assert report.limit >= 1


def test_a_rest_lasts_whatever_is_said_of_the_budget_and_whatever_our_clock_is_set_to(
    service: Scripted, client_context: ClientContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers(Reply(headers=limits(13)), Reply(429, headers=limits(0, reset_in_s=-3600)))
    lease = Lease(service, client_context, 4)
    lease.ask()
    with pytest.raises(GrantEmptyError):
        lease.ask()
    client_context.budgets.hear(
        time.monotonic(), BudgetReport(WHO, "things", 15, 14, 2_000_000_000, 900_000), time.monotonic()
    )
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() - 3600)
    with pytest.raises(GrantEmptyError):
        lease.ask()
    assert len(service.asked) == 2
    window, rest = client_context.budgets.reports(time.monotonic())
    assert (window.limit, window.window, rest.remaining, rest.window) == (15, 2_000_000_000, 0, 0)
    assert 6000 < rest.reset_in_ms <= 7000


def test_no_other_thread_runs_into_a_429_that_one_has_met(service: Scripted, client_context: ClientContext) -> None:
    service.answers(Reply(429, headers=limits(0)))
    for _ in range(3):
        with pytest.raises(GrantEmptyError):
            Lease(service, client_context, 4).ask()
    assert len(service.asked) == 1


def test_an_answer_beyond_all_measure_fails_without_another_try(
    service: Scripted, client_context: ClientContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 10)
    service.answers(Reply(body=b"x" * 11))
    lease = Lease(service, client_context, 4)
    with pytest.raises(http.TooLargeError):
        lease.ask()
    assert len(service.asked) == 1


def test_a_lost_lease_asks_no_more(service: Scripted, client_context: ClientContext) -> None:
    lease = Lease(service, client_context, 4)
    lease.allowance.stop()
    with pytest.raises(StoppedError):
        lease.ask()
    assert not service.asked


def test_rests_grow_and_stay_short() -> None:
    assert all(0 < retrying_client.rest_s(n) <= retrying_client.MAX_REST_S for n in range(100) for _ in range(20))
    assert max(retrying_client.rest_s(1) for _ in range(50)) < min(retrying_client.rest_s(9) for _ in range(50))
