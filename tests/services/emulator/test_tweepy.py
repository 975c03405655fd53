"""A client that others wrote, on a world that it was not made for: tweepy 4 pages, parses and understands it all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter

from tests.services.emulator.running import TIMEOUT_S, Running, emulator

USERS = 3000


class Plain(HTTPAdapter):
    """tweepy knows only https; on loopback the same requests go out as http."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **options)


def client(running: Running, auth: object, **options: Any) -> Any:
    api = tweepy.API(auth, host=f"127.0.0.1:{running.port}", timeout=TIMEOUT_S, **options)
    api.session.mount("https://", Plain())
    return api


def signed(name: str = "token") -> object:
    return tweepy.OAuth1UserHandler("key", "secret", name, "token secret")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with emulator("--users", str(USERS), "--seed", "5", "--page-cap", "700") as one:
        yield one


@pytest.fixture(scope="module")
def writer(running: Running) -> int:
    """The public account with the most posts among the first."""
    found = [running.truth(f"account/{user}") for user in running.truth("ids?count=400")["ids"]]
    public = [account for account in found if account["state"] == "public"]
    return int(max(public, key=lambda account: account["posts"])["id"])


def in_state(running: Running, state: str) -> int:
    for user in running.truth(f"ids?count={USERS}")["ids"]:
        if running.truth(f"account/{user}")["state"] == state:
            return int(user)
    raise AssertionError(f"no {state} account")


@pytest.mark.slow
def test_tweepy_pages_a_whole_timeline(running: Running, writer: int) -> None:
    api = client(running, signed())
    posts = list(tweepy.Cursor(api.user_timeline, user_id=writer, count=200).items())
    assert [post.id for post in posts] == running.truth(f"account/{writer}")["post_ids"]
    assert len(posts) > 1000
    for post in posts:
        assert post.created_at.tzinfo is not None
        assert datetime(2011, 1, 1, tzinfo=UTC) <= post.created_at < datetime(2023, 1, 2, tzinfo=UTC)
        assert post.author.id == writer
        assert post.text
        assert post.lang
        assert post.entities
        assert post.id_str == str(post.id)


def test_tweepy_pages_a_whole_follower_list(running: Running) -> None:
    api = client(running, signed())
    hub = running.truth("ids?count=1")["ids"][0]
    truth = running.truth(f"account/{hub}")
    assert list(tweepy.Cursor(api.get_follower_ids, user_id=hub, count=5000).items()) == truth["followers"]
    assert list(tweepy.Cursor(api.get_friend_ids, user_id=hub, count=3).items()) == truth["friends"]
    pages = list(tweepy.Cursor(api.get_follower_ids, user_id=hub).pages())
    assert [len(page) for page in pages] == [700, 700, len(truth["followers"]) - 1400]


@pytest.mark.slow
def test_tweepy_looks_profiles_up(running: Running, writer: int) -> None:
    api = client(running, signed())
    ids = running.truth("ids?count=100")["ids"]
    found = api.lookup_users(user_id=ids)
    assert 80 < len(found) <= 100
    for user in found:
        truth = running.truth(f"account/{user.id}")
        assert (user.followers_count, user.friends_count) == (len(truth["followers"]), len(truth["friends"]))
        assert user.created_at.tzinfo is not None
    assert api.get_user(screen_name=found[0].screen_name).id == found[0].id
    assert api.get_user(user_id=writer).timeline(count=5)[0].id == running.truth(f"account/{writer}")["post_ids"][0]


def test_tweepy_hears_each_refusal(running: Running) -> None:
    api = client(running, signed())

    def codes(error: pytest.ExceptionInfo[Any]) -> list[int]:
        return list(error.value.api_codes)

    for call in (api.user_timeline, api.get_follower_ids):
        for state in ("protected", "suspended"):
            with pytest.raises(tweepy.Unauthorized):
                call(user_id=in_state(running, state))
        with pytest.raises(tweepy.NotFound) as missing:
            call(user_id=in_state(running, "deleted"))
        assert codes(missing) == [34]
    with pytest.raises(tweepy.Forbidden) as suspended:
        api.get_user(user_id=in_state(running, "suspended"))
    assert codes(suspended) == [63]
    with pytest.raises(tweepy.NotFound) as unknown:
        api.get_user(user_id=1)
    assert codes(unknown) == [50]
    with pytest.raises(tweepy.NotFound) as nobody:
        api.lookup_users(user_id=[1, 2])
    assert codes(nobody) == [17]
    with pytest.raises(tweepy.Forbidden) as crowd:
        api.lookup_users(user_id=list(range(101)))
    assert codes(crowd) == [18]
    with pytest.raises(tweepy.Unauthorized) as stranger:
        client(running, tweepy.OAuth2BearerHandler("made up")).get_user(user_id=1)
    assert codes(stranger) == [89]


def test_tweepy_hears_faults_and_limits() -> None:
    with emulator("--users", "200", "--faults", "http503=1") as sick, pytest.raises(tweepy.TwitterServerError) as over:
        client(sick, signed()).get_user(user_id=12)
    assert over.value.api_codes == [130]
    with emulator("--users", "200", "--limits", "F=2/900s") as strict:
        api = client(strict, signed())
        api.get_follower_ids(user_id=12)
        api.get_follower_ids(user_id=12)
        with pytest.raises(tweepy.TooManyRequests) as empty:
            api.get_follower_ids(user_id=12)
        assert empty.value.api_codes == [88]
        assert client(strict, signed("another")).get_follower_ids(user_id=12)


@pytest.mark.slow
def test_tweepy_waits_out_a_short_window() -> None:
    with emulator("--users", "200", "--limits", "F=2/1s") as strict:
        api = client(strict, signed(), wait_on_rate_limit=True)
        for _ in range(4):
            assert api.get_follower_ids(user_id=12)


def test_an_app_gets_its_token_and_the_limits_of_apps() -> None:
    with emulator("--users", "200", "--limits", "real") as running:
        got = requests.post(
            f"{running.url}/oauth2/token",
            auth=("key", "secret"),
            data={"grant_type": "client_credentials"},
            timeout=TIMEOUT_S,
        ).json()
        assert got["token_type"] == "bearer"
        api = client(running, tweepy.OAuth2BearerHandler(got["access_token"]))
        status = api.rate_limit_status()
        assert status["resources"]["statuses"]["/statuses/user_timeline"]["limit"] == 1500
        assert status["resources"]["users"]["/users/lookup"]["limit"] == 300
        assert client(running, signed()).rate_limit_status()["resources"]["users"]["/users/lookup"]["limit"] == 900
