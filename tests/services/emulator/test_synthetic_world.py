"""The synthetic world: what it promises of its graph, its accounts and its posts."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from math import log

import pytest

from services.emulator.worlds.authors import screen_name, user_of
from services.emulator.worlds.synthetic import EXPONENT, MIN_FOLLOWERS, MUTUAL_SHARE, SyntheticWorld
from services.emulator.worlds.world import Account, AccountState, Style
from tests.checkout import ROOT
from tests.services.emulator.running import TIMEOUT_S

USERS = 20_000
EVERYTHING = 1 << 30


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(USERS, 3)


def everyone(world: SyntheticWorld) -> list[Account]:
    found = [world.find(user) for user in world.ids(0, EVERYTHING)]
    return [account for account in found if account is not None]


def test_in_degrees_fall_off_with_the_exponent_of_the_real_graph(world: SyntheticWorld) -> None:
    degrees = [world.follower_count(account) for account in everyone(world)]
    tail = [degree for degree in degrees if degree >= MIN_FOLLOWERS]
    # The maximum-likelihood estimate of Clauset, Shalizi and Newman (2009), equation 3.7.
    exponent = 1 + len(tail) / sum(log(degree / (MIN_FOLLOWERS - 0.5)) for degree in tail)
    assert exponent == pytest.approx(EXPONENT, abs=0.03)
    assert 0 in degrees


@pytest.mark.slow
def test_the_share_of_mutual_pairs_is_that_of_the_real_graph(world: SyntheticWorld) -> None:
    edges = {
        (follower, account.id)
        for account in everyone(world)
        for follower in world.followers(account, 0, world.follower_count(account))
    }
    both = sum((followed, follower) in edges for follower, followed in edges) / 2
    assert both / (len(edges) - both) == pytest.approx(MUTUAL_SHARE, abs=0.02)


def test_followers_and_friends_are_two_views_of_one_graph() -> None:
    world = SyntheticWorld(300, 11)
    followers = {(f, a.id) for a in everyone(world) for f in world.followers(a, 0, EVERYTHING)}
    friends = {(a.id, f) for a in everyone(world) for f in world.friends(a, 0, EVERYTHING)}
    assert followers == friends
    for account in everyone(world):
        listed = world.followers(account, 0, EVERYTHING)
        assert len(set(listed)) == len(listed) == world.follower_count(account)
        assert account.id not in listed
        assert len(world.friends(account, 0, EVERYTHING)) == world.friend_count(account)


def test_the_default_world_has_an_account_of_20000_followers() -> None:
    world = SyntheticWorld(100_000, 1)
    hub = world.find(world.ids(0, 1)[0])
    assert hub is not None
    assert hub.state is AccountState.PUBLIC
    assert len(set(world.followers(hub, 0, EVERYTHING))) == world.follower_count(hub) >= 20_000


def test_every_state_and_both_kinds_of_id_occur(world: SyntheticWorld) -> None:
    states = Counter(account.state for account in everyone(world))
    assert set(states) == set(AccountState)
    ids = world.ids(0, EVERYTHING)
    assert ids == sorted(set(ids))
    assert sum(user > 1 << 32 for user in ids) == USERS // 4


def test_timelines_have_a_median_of_60_and_end_at_3200(world: SyntheticWorld) -> None:
    counts = [account.posts for account in everyone(world)]
    assert statistics.median(counts) == pytest.approx(60, rel=0.1)
    assert min(counts) == 0
    assert max(counts) == 3200


@pytest.mark.slow
def test_posts_are_large_complete_and_newest_first(world: SyntheticWorld) -> None:
    writers = [account for account in everyone(world) if account.posts][:300]
    for account in writers:
        lines = world.posts(account, 0, 40, Style())
        posts = [json.loads(line) for line in lines]
        assert [post["id"] for post in posts] == world.post_ids(account)[:40]
        assert all(newer["id"] > older["id"] for newer, older in pairwise(posts))
        assert min(map(len, lines)) >= 1500
        for post in posts:
            assert post["id_str"] == str(post["id"])
            assert post["user"]["id"] == account.id
            assert post["user"] == json.loads(world.profile(account))
            assert post["entities"]
            check_entities(post)


def check_entities(post: dict[str, object]) -> None:
    text, entities = str(post["text"]), post["entities"]
    assert isinstance(entities, dict)
    for kind, items in entities.items():
        assert items, "a key without content is absent"
        for item in items:
            start, end = item["indices"]
            said = {"hashtags": "#{text}", "user_mentions": "@{screen_name}", "urls": "{url}"}[kind].format(**item)
            assert text[start:end] == said


def test_no_key_is_null_or_empty(world: SyntheticWorld) -> None:
    def contents(value: object) -> list[object]:
        if isinstance(value, dict):
            return [value, *(inner for item in value.values() for inner in contents(item))]
        if isinstance(value, list):
            return [value, *(inner for item in value for inner in contents(item))]
        return [value]

    for account in everyone(world)[:200]:
        for line in [world.profile(account), *world.posts(account, 0, 20, Style(extended=True))]:
            assert not [value for value in contents(json.loads(line)) if value is None or value in ("", [], {})]


@pytest.mark.slow
def test_another_process_writes_the_same_bytes() -> None:
    program = (
        "import hashlib; from services.emulator.worlds.synthetic import SyntheticWorld as W;"
        "from services.emulator.worlds.world import Style; w = W(500, 9); h = hashlib.sha256();"
        "[h.update(b''.join([w.profile(a), repr(w.followers(a, 0, 99)).encode(), *w.posts(a, 0, 9, Style())]))"
        " for a in map(w.find, w.ids(0, 500))]; print(h.hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_screen_names_lead_back_to_their_account(world: SyntheticWorld) -> None:
    for user in [*world.ids(0, EVERYTHING)[::50], (1 << 63) - 1]:
        name = screen_name(user)
        assert len(name) <= 15
        assert user_of(name.upper()) == user
    assert world.find_name("nobody") is None
    assert world.find_name("_") is None


@pytest.mark.slow
def test_a_million_accounts_start_quickly_and_stay_small() -> None:
    program = (
        "import time; t = time.process_time(); from services.emulator.worlds.synthetic import SyntheticWorld as W;"
        "w = W(1_000_000, 1); s = time.process_time() - t; a = w.find(w.ids(500_000, 1)[0]); w.profile(a);"
        "w.friends(a, 0, 9); w.followers(a, 0, 9);"
        "print(s, next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    seconds, kilobytes = ended.stdout.split()
    assert float(seconds) < 10, "of the processor, which others may use meanwhile"
    assert int(kilobytes) < 200_000
