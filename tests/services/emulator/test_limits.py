"""Limits: how requests are counted, refused and announced."""

from __future__ import annotations

import base64
import json
from math import ceil

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import UsageError
from services.emulator.api.calls import Service
from services.emulator.api.http_messages import Request
from services.emulator.api.limits import UNLIMITED, Windows, parse_limits
from services.emulator.worlds.world import AccountState
from tests.services.emulator.asking import NOON, WORLD, answer, body, first, refusal, service

PUBLIC = first(WORLD, AccountState.PUBLIC)
UNKNOWN = 5


def bearer(asked: Service) -> str:
    basic = {"authorization": "Basic " + base64.b64encode(b"key:secret").decode()}
    ask = Request("POST", "/oauth2/token", {"grant_type": "client_credentials"}, basic, "127.0.0.1")
    return f"Bearer {json.loads(asked.answer(ask, NOON).body)['access_token']}"


def left(asked: Service, endpoint: str, **options: object) -> int:
    return int(answer(asked, endpoint, user_id=PUBLIC, **options).headers["x-rate-limit-remaining"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "user", "app"),
    [
        ("statuses/user_timeline", 900, 1500),
        ("followers/ids", 15, 15),
        ("friends/ids", 15, 15),
        ("users/lookup", 900, 300),
        ("users/show", 900, 900),
    ],
)
def test_the_real_limits_are_those_of_the_table(endpoint: str, user: int, app: int) -> None:
    asked = service(limits="real")
    signed = 'OAuth oauth_consumer_key="k", oauth_token="t", oauth_signature="s"'
    assert left(asked, endpoint) == user - 1
    assert left(asked, endpoint, auth=signed) == user - 1
    assert left(asked, endpoint, auth=bearer(asked)) == app - 1


def test_an_empty_window_refuses_with_88_until_its_announced_end() -> None:
    asked = service(limits="T=3,F=2,A=1/15s")
    assert [left(asked, "followers/ids") for _ in range(2)] == [1, 0]
    assert refusal(asked, "followers/ids", user_id=PUBLIC) == (429, 88)
    assert left(asked, "friends/ids") == 1, "each list has a count of its own"
    refused = answer(asked, "followers/ids", user_id=PUBLIC)
    reset = int(refused.headers["x-rate-limit-reset"])
    assert reset == ceil(NOON + 15)
    assert left(asked, "followers/ids", now=reset) == 1
    assert asked.tally.requests()["beyond_budget"] == 2


def test_errors_and_faults_spend_like_any_answer() -> None:
    asked = service(limits="F=5/15s", faults="http500=1")
    assert left(asked, "followers/ids") == 4
    assert left(asked, "followers/ids") == 3
    sound = service(limits="F=5/15s")
    assert refusal(sound, "followers/ids", user_id=UNKNOWN) == (404, 34)
    assert left(sound, "followers/ids") == 3


def test_addresses_and_tokens_are_counted_apart() -> None:
    asked = service(limits="F=1/15s")
    for who in ({"address": "127.0.0.2"}, {"address": "127.0.0.3"}, {"auth": bearer(asked)}):
        assert left(asked, "followers/ids", **who) == 0
        assert answer(asked, "followers/ids", user_id=PUBLIC, **who).status == 429  # type: ignore[arg-type]


def test_credentials_that_are_refused_still_hear_of_their_window() -> None:
    got = answer(service(limits="real"), "users/show", user_id=PUBLIC, auth="Bearer nix")
    assert got.status == 401
    assert got.headers["x-rate-limit-limit"] == "900"


def test_without_limits_the_headers_count_down_and_nothing_is_refused() -> None:
    asked = service()
    assert [left(asked, "followers/ids") for _ in range(20)] == list(range(UNLIMITED - 1, UNLIMITED - 21, -1))


def test_rate_limit_status_says_what_is_left_without_spending_it() -> None:
    asked = service(limits="real")
    left(asked, "followers/ids")
    for _ in range(2):
        told = body(asked, "application/rate_limit_status", resources="followers,users")["resources"]
        assert set(told) == {"followers", "users"}
        assert told["followers"]["/followers/ids"]["remaining"] == 14
        assert told["users"]["/users/lookup"]["remaining"] == 900


@settings(max_examples=200, deadline=None)
@given(
    window_s=st.sampled_from(["100ms", "900ms", "1s", "1.5s", "15s"]),
    count=st.integers(1, 5),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=40),
    start=st.floats(1.6e9, 1.8e9),
)
def test_whoever_waits_for_the_announced_reset_is_never_refused(
    window_s: str, count: int, pauses: list[float], start: float
) -> None:
    windows = Windows(parse_limits(f"F={count}/{window_s}"))
    now, reset, remaining = start, 0, count
    for pause in pauses:
        now += pause
        if remaining == 0:
            now = max(now, float(reset))
        granted, window = windows.spend("x", "followers/ids", app=False, now=now)
        assert granted
        assert 0 <= window.remaining < window.limit
        remaining, reset = window.remaining, window.reset
        assert reset >= window.end


def test_dividing_the_window_keeps_the_counts() -> None:
    assert parse_limits("real/900").window_s == 1.0
    assert parse_limits("real/60").counts == parse_limits("real").counts
    assert parse_limits("T=90,F=15,A=90/15s").window_s == 15.0
    assert parse_limits("T=90").window_s == 900.0
    assert parse_limits("F=2/500ms").window_s == 0.5


@pytest.mark.parametrize(
    "text",
    ["", "some", "real/0", "real/x", "real/", "T=0", "T=-1", "T=x", "X=1", "T=1,", "T=1/15", "T=1/0s", "T=1/1s/1s"],
)
def test_a_limit_that_makes_no_sense_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match=r"\.$"):
        parse_limits(text)
