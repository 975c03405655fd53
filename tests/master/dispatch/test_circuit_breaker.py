"""A service that fails for everybody costs a few tries, not a dead letter for each waiting job."""

from __future__ import annotations

from hypothesis import given, strategies as st

from master.dispatch.circuit_breaker import ACCOUNTS, FIRST_REST_S, MAX_REST_S, CircuitBreakers

KEY = "twitter host:a statuses/user_timeline"
WORDS = "no answer within 30 s"


def out(breakers: CircuitBreakers, now: float = 0.0) -> None:
    for number in range(ACCOUNTS):
        breakers.failed(now, KEY, str(number), WORDS)


def test_one_account_that_fails_is_its_own_trouble() -> None:
    breakers = CircuitBreakers()
    for now in range(100):
        breakers.failed(float(now), KEY, "1", WORDS)
    assert breakers.room(100.0, KEY) is None
    assert not breakers.notices


def test_a_service_that_fails_for_many_is_left_alone_and_then_asked_by_one() -> None:
    breakers = CircuitBreakers()
    out(breakers)
    assert breakers.room(FIRST_REST_S - 0.1, KEY) == 0
    assert breakers.room(FIRST_REST_S, KEY) == 1
    breakers.tried(FIRST_REST_S, KEY)
    assert breakers.room(FIRST_REST_S, KEY) == 0
    assert breakers.room(0.0, "another") is None


def test_a_success_ends_it() -> None:
    breakers = CircuitBreakers()
    out(breakers)
    breakers.succeeded(KEY)
    breakers.succeeded(KEY)
    assert breakers.room(0.1, KEY) is None


def test_the_operator_is_told_when_a_service_goes_out_and_when_it_is_back_once_each() -> None:
    breakers = CircuitBreakers()
    out(breakers)
    said = f"{KEY} failed for {ACCOUNTS} accounts in a row, and is left alone for {FIRST_REST_S:g} s: {WORDS}"
    assert breakers.notices == [said]
    breakers.failed(0.5, KEY, "99", WORDS)
    assert len(breakers.notices) == 1
    breakers.succeeded(KEY)
    breakers.succeeded(KEY)
    assert breakers.notices[1:] == [f"{KEY} answers again"]


def test_failures_that_were_under_way_when_it_went_out_do_not_lengthen_it() -> None:
    breakers = CircuitBreakers()
    out(breakers)
    breakers.failed(0.5, KEY, "99", WORDS)
    assert breakers.room(FIRST_REST_S, KEY) == 1


def test_a_failure_under_way_costs_no_try_and_that_of_the_one_who_tries_does() -> None:
    breakers = CircuitBreakers()
    out(breakers)
    assert breakers.spares(KEY)
    breakers.tried(FIRST_REST_S, KEY)
    assert not breakers.spares(KEY)


@given(st.integers(1, 60))
def test_an_hour_of_failures_costs_few_tries(probes: int) -> None:
    breakers = CircuitBreakers()
    out(breakers)
    now, rest = 0.0, FIRST_REST_S
    for _ in range(probes):
        now = breakers.by_key[KEY].until
        assert breakers.room(now, KEY) == 1
        breakers.tried(now, KEY)
        assert breakers.room(now, KEY) == 0
        breakers.failed(now + 0.1, KEY, "1", WORDS)
        longer = breakers.by_key[KEY].rest_s
        assert longer == min(MAX_REST_S, 2 * rest), "each failure of the one that tries doubles the rest"
        rest = longer
    assert probes < 18 or now > 3600
