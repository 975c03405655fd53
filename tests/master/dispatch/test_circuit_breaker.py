"""A service that fails for everybody costs a few tries, not a dead letter for each waiting job."""

from __future__ import annotations

from hypothesis import given, strategies as st

from master.dispatch.circuit_breaker import ACCOUNTS, FIRST_REST_S, LONGEST_REST_S, CircuitBreakers

KEY = "twitter host:a statuses/user_timeline"
WORDS = "no answer within 30 s"


def out(outages: CircuitBreakers, now: float = 0.0) -> None:
    for number in range(ACCOUNTS):
        outages.failed(now, KEY, str(number), WORDS)


def test_one_account_that_fails_is_its_own_trouble() -> None:
    outages = CircuitBreakers()
    for now in range(100):
        outages.failed(float(now), KEY, "1", WORDS)
    assert outages.room(100.0, KEY) is None
    assert not outages.notices


def test_a_service_that_fails_for_many_is_left_alone_and_then_asked_by_one() -> None:
    outages = CircuitBreakers()
    out(outages)
    assert outages.room(FIRST_REST_S - 0.1, KEY) == 0
    assert outages.room(FIRST_REST_S, KEY) == 1
    outages.tried(FIRST_REST_S, KEY)
    assert outages.room(FIRST_REST_S, KEY) == 0
    assert outages.room(0.0, "another") is None


def test_a_success_ends_it() -> None:
    outages = CircuitBreakers()
    out(outages)
    outages.succeeded(KEY)
    outages.succeeded(KEY)
    assert outages.room(0.1, KEY) is None


def test_the_operator_is_told_when_a_service_goes_out_and_when_it_is_back_once_each() -> None:
    outages = CircuitBreakers()
    out(outages)
    said = f"{KEY} failed for {ACCOUNTS} accounts in a row, and is left alone for {FIRST_REST_S:g} s: {WORDS}"
    assert outages.notices == [said]
    outages.failed(0.5, KEY, "99", WORDS)
    assert len(outages.notices) == 1
    outages.succeeded(KEY)
    outages.succeeded(KEY)
    assert outages.notices[1:] == [f"{KEY} answers again"]


def test_failures_that_were_under_way_when_it_went_out_do_not_lengthen_it() -> None:
    outages = CircuitBreakers()
    out(outages)
    outages.failed(0.5, KEY, "99", WORDS)
    assert outages.room(FIRST_REST_S, KEY) == 1


def test_a_failure_under_way_costs_no_try_and_that_of_the_one_who_tries_does() -> None:
    outages = CircuitBreakers()
    out(outages)
    assert outages.spares(KEY)
    outages.tried(FIRST_REST_S, KEY)
    assert not outages.spares(KEY)


@given(st.integers(1, 60))
def test_an_hour_of_failures_costs_few_tries(probes: int) -> None:
    outages = CircuitBreakers()
    out(outages)
    now, rest = 0.0, FIRST_REST_S
    for _ in range(probes):
        now = outages.by_key[KEY].until
        assert outages.room(now, KEY) == 1
        outages.tried(now, KEY)
        assert outages.room(now, KEY) == 0
        outages.failed(now + 0.1, KEY, "1", WORDS)
        longer = outages.by_key[KEY].rest_s
        assert longer == min(LONGEST_REST_S, 2 * rest), "each failure of the one that tries doubles the rest"
        rest = longer
    assert probes < 18 or now > 3600
