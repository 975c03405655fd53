"""Every refusal of the service: the status and code that clients branch on."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings, strategies as st

from services.emulator.api.http_messages import Request
from services.emulator.worlds.authors import screen_name
from services.emulator.worlds.world import AccountState
from tests.services.emulator.asking import NOON, NOT_AUTHORIZED, WORLD, accounts, answer, body, first, refusal, service

PUBLIC, PROTECTED, SUSPENDED, DELETED = (first(WORLD, state) for state in AccountState)
UNKNOWN = 5
LISTS = ("statuses/user_timeline", "followers/ids", "friends/ids")


@pytest.mark.parametrize("endpoint", LISTS)
def test_what_is_gone_or_never_was_is_404_with_code_34(endpoint: str) -> None:
    for user in (DELETED, UNKNOWN, "abc", "9" * 40, "-1"):
        assert refusal(service(), endpoint, user_id=user) == (404, 34)
    assert refusal(service(), endpoint, screen_name="nobody") == (404, 34)


@pytest.mark.parametrize("endpoint", LISTS)
@pytest.mark.parametrize("user", [PROTECTED, SUSPENDED])
def test_what_nobody_may_see_is_401_in_the_form_without_a_code(endpoint: str, user: int) -> None:
    got = answer(service(), endpoint, user_id=user)
    assert got.status == 401
    assert json.loads(got.body) == {"request": f"/1.1/{endpoint}.json", "error": NOT_AUTHORIZED}


def test_show_tells_unknown_from_suspended() -> None:
    assert refusal(service(), "users/show", user_id=UNKNOWN) == (404, 50)
    assert refusal(service(), "users/show", user_id=DELETED) == (404, 50)
    assert refusal(service(), "users/show", user_id=SUSPENDED) == (403, 63)
    assert body(service(), "users/show", user_id=PROTECTED)["protected"] is True
    assert body(service(), "users/show", screen_name=screen_name(PUBLIC))["id"] == PUBLIC


def test_lookup_drops_whom_it_does_not_know_and_answers_in_the_order_asked() -> None:
    asked = ",".join(map(str, [PROTECTED, UNKNOWN, SUSPENDED, PUBLIC, DELETED, PROTECTED]))
    found = body(service(), "users/lookup", user_id=asked, screen_name=f"nobody,{screen_name(PUBLIC)}")
    assert [profile["id"] for profile in found] == [PROTECTED, PUBLIC]


def test_lookup_refuses_none_known_and_more_than_a_hundred() -> None:
    hundred = list(accounts(WORLD, AccountState.PUBLIC))[:100]
    assert len(body(service(), "users/lookup", user_id=",".join(map(str, hundred)))) == 100
    assert refusal(service(), "users/lookup", user_id=",".join(map(str, [*hundred, UNKNOWN]))) == (403, 18)
    assert refusal(service(), "users/lookup", user_id=f"{UNKNOWN},{SUSPENDED}") == (404, 17)
    assert refusal(service(), "users/lookup") == (400, 25)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("Bearer made-up", (401, 89)),
        ("Bearer ", (401, 89)),
        ("Basic dTpw", (401, 32)),
        ('OAuth oauth_consumer_key="k", oauth_token="t"', (401, 32)),
        ('OAuth oauth_token="t", oauth_signature="s"', (400, 215)),
        ("OAuth", (400, 215)),
        ("Negotiate abc", (400, 215)),
    ],
)
def test_broken_credentials_are_refused(auth: str, expected: tuple[int, int]) -> None:
    assert refusal(service(), "users/show", user_id=PUBLIC, auth=auth) == expected


def test_signatures_are_taken_as_they_come() -> None:
    auth = 'OAuth oauth_consumer_key="k", oauth_token="t", oauth_signature="anything%3D"'
    assert body(service(), "users/show", user_id=PUBLIC, auth=auth)["id"] == PUBLIC
    query = {"oauth_consumer_key": "k", "oauth_token": "t", "oauth_signature": "s"}
    assert body(service(), "users/show", user_id=PUBLIC, **query)["id"] == PUBLIC


def test_a_bearer_token_outlives_the_process_and_belongs_to_its_seed() -> None:
    basic = {"authorization": "Basic " + base64.b64encode(b"key:secret").decode()}
    ask = Request("POST", "/oauth2/token", {"grant_type": "client_credentials"}, basic, "127.0.0.1")
    token = json.loads(service(seed=1).answer(ask, NOON).body)["access_token"]
    assert body(service(seed=1), "users/show", user_id=PUBLIC, auth=f"Bearer {token}")["id"] == PUBLIC
    assert refusal(service(seed=2), "users/show", user_id=PUBLIC, auth=f"Bearer {token}") == (401, 89)


def test_a_token_needs_a_key_and_a_grant_type() -> None:
    basic = {"authorization": "Basic " + base64.b64encode(b"key:secret").decode()}
    for headers, expected in ((dict[str, str](), 403), (basic, 400), ({"authorization": "Basic %"}, 403)):
        got = service().answer(Request("POST", "/oauth2/token", {}, headers, "127.0.0.1"), NOON)
        assert got.status == expected


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [
        ("followers/ids", {"count": "-1"}),
        ("followers/ids", {"count": "0"}),
        ("followers/ids", {"count": "many"}),
        ("followers/ids", {"cursor": "xyz"}),
        ("followers/ids", {"cursor": "12345"}),
        ("followers/ids", {"cursor": "-" + "9" * 30}),
        ("statuses/user_timeline", {"max_id": str(1 << 63)}),
        ("statuses/user_timeline", {"max_id": "-5"}),
        ("statuses/user_timeline", {"since_id": "1.5"}),
        ("statuses/user_timeline", {"count": "٣"}),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused_by_name(endpoint: str, params: dict[str, str]) -> None:
    got = answer(service(), endpoint, user_id=PUBLIC, **params)  # type: ignore[arg-type]
    assert got.status == 403
    assert next(iter(params)) in json.loads(got.body)["errors"][0]["message"]


def test_faults_answer_with_the_codes_of_the_service() -> None:
    assert refusal(service(faults="http500=1"), "users/show", user_id=PUBLIC) == (500, 131)
    assert refusal(service(faults="http503=1"), "users/show", user_id=PUBLIC) == (503, 130)


def test_unknown_paths_and_methods_are_refused() -> None:
    for path in ("/1.1/users/nix.json", "/2/users/show.json", "/1.1/users/show", "/users/show.json", "/1.1/.json"):
        got = service().answer(Request("GET", path, {}, {}, "127.0.0.1"), NOON)
        assert (got.status, json.loads(got.body)["errors"][0]["code"]) == (404, 34)
    got = service().answer(Request("POST", "/1.1/users/show.json", {}, {}, "127.0.0.1"), NOON)
    assert got.status == 405
    old = service().answer(Request("GET", "/1/users/show.json", {"user_id": str(PUBLIC)}, {}, "127.0.0.1"), NOON)
    assert old.status == 200


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    endpoint=st.sampled_from([*LISTS, "users/lookup", "users/show", "application/rate_limit_status"]),
    params=st.dictionaries(
        st.sampled_from(
            ["user_id", "screen_name", "cursor", "count", "max_id", "since_id", "stringify_ids", "resources"]
        ),
        st.one_of(st.text(max_size=30), st.integers(-(1 << 70), 1 << 70).map(str), st.just(str(PUBLIC))),
    ),
    auth=st.one_of(st.just(""), st.text(max_size=40), st.text(max_size=20).map("OAuth ".__add__)),
)
def test_nothing_that_a_client_sends_is_an_internal_error(endpoint: str, params: dict[str, str], auth: str) -> None:
    got = service().answer(Request("GET", f"/1.1/{endpoint}.json", params, {"authorization": auth}, "127.0.0.1"), NOON)
    assert got.status in (200, 400, 401, 403, 404)
    json.loads(got.body)
