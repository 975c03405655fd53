"""The one back-off."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from protocol.backoff import Backoff, doubled, spread


def test_each_rest_is_twice_the_one_before_up_to_the_most_and_a_success_begins_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next() == 0.5


@given(st.floats(0, 1e6), st.integers(0, 10**9), st.floats(0, 1e6))
def test_no_number_of_tries_makes_it_longer_than_the_most(first: float, times: int, most: float) -> None:
    assert 0 <= doubled(first, times, most) <= most


def test_a_rest_is_spread_from_half_to_one_and_a_half() -> None:
    spreads = [spread(10.0, random.random()) for _ in range(200)]
    assert 5.0 <= min(spreads) < 7.0 and 13.0 < max(spreads) <= 15.0
