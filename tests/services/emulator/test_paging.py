"""Paging: whatever the size of the pages, a client that goes on to the end has everything once, in order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from services.emulator.api.calls import Service
from services.emulator.api.http_messages import Cut
from services.emulator.worlds.world import AccountState
from tests.services.emulator.asking import WORLD, accounts, answer, body, pages_of_ids, pages_of_posts, refusal, service

HUB = WORLD.ids(0, 1)[0]
PUBLIC = list(accounts(WORLD, AccountState.PUBLIC))
WRITER = max(PUBLIC, key=lambda user: getattr(WORLD.find(user), "posts", 0))
EVERYTHING = 1 << 30


def members(user: int, endpoint: str) -> list[int]:
    account = WORLD.find(user)
    assert account is not None
    listed = WORLD.followers if endpoint == "followers/ids" else WORLD.friends
    return list(listed(account, 0, EVERYTHING))


def post_ids(user: int) -> list[int]:
    account = WORLD.find(user)
    assert account is not None
    return WORLD.post_ids(account)


def walk_list(asked: Service, user: int, endpoint: str = "followers/ids", **params: object) -> list[list[int]]:
    return list(pages_of_ids(lambda cursor: body(asked, endpoint, user_id=user, cursor=cursor, **params)))


def walk_timeline(asked: Service, user: int, **params: object) -> list[list[int]]:
    def ask(max_id: int | None) -> Any:
        bound = {} if max_id is None else {"max_id": max_id}
        return body(asked, "statuses/user_timeline", user_id=user, **bound, **params)

    return list(pages_of_posts(ask))


@settings(max_examples=60, deadline=None)
@given(
    user=st.sampled_from(PUBLIC[:60]),
    endpoint=st.sampled_from(["followers/ids", "friends/ids"]),
    count=st.integers(1, 6000),
    page_cap=st.integers(3, 5000),
    short=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_pages_of_any_size_give_a_list_exactly_once(
    user: int, endpoint: str, count: int, page_cap: int, short: float, seed: int
) -> None:
    asked = service(page_cap=page_cap, seed=seed, faults=f"short_page={short}")
    pages = walk_list(asked, user, endpoint, count=max(3, count))
    assert [one for page in pages for one in page] == members(user, endpoint)
    assert max(map(len, pages)) <= min(max(3, count), page_cap)


@settings(max_examples=40, deadline=None)
@given(
    user=st.sampled_from([WRITER, *PUBLIC[:30]]),
    count=st.integers(20, 400),
    page_cap=st.integers(20, 5000),
    short=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_pages_of_any_size_give_a_timeline_exactly_once(
    user: int, count: int, page_cap: int, short: float, seed: int
) -> None:
    asked = service(page_cap=page_cap, seed=seed, faults=f"short_page={short}")
    pages = walk_timeline(asked, user, count=count)
    assert [one for page in pages for one in page] == post_ids(user)
    assert max(map(len, pages), default=0) <= min(count, page_cap, 200)


def test_max_id_is_inclusive_and_since_id_is_not() -> None:
    ids = post_ids(WRITER)
    got = body(service(), "statuses/user_timeline", user_id=WRITER, count=200, max_id=ids[5], since_id=ids[9])
    assert [post["id"] for post in got] == ids[5:9]


def test_max_id_between_two_posts_starts_at_the_older() -> None:
    ids = post_ids(WRITER)
    got = body(service(), "statuses/user_timeline", user_id=WRITER, count=1, max_id=ids[5] - 1)
    assert [post["id"] for post in got] == ids[6:7]


def test_a_timeline_page_holds_20_posts_unless_asked_and_200_at_most() -> None:
    assert len(body(service(), "statuses/user_timeline", user_id=WRITER)) == 20
    assert len(body(service(), "statuses/user_timeline", user_id=WRITER, count=900)) == 200


def test_withheld_posts_appear_when_they_are_released() -> None:
    asked = service(withheld=5)
    assert [one for page in walk_timeline(asked, WRITER, count=200) for one in page] == post_ids(WRITER)[5:]
    asked.withheld = 0
    newest = body(asked, "statuses/user_timeline", user_id=WRITER, since_id=post_ids(WRITER)[5])
    assert [post["id"] for post in newest] == post_ids(WRITER)[:5]


def test_a_cursor_outlives_the_process_and_leads_back() -> None:
    pages = walk_list(service(seed=4, page_cap=50), HUB)
    start = body(service(seed=4, page_cap=50), "followers/ids", user_id=HUB)
    second = body(service(seed=4, page_cap=50), "followers/ids", user_id=HUB, cursor=start["next_cursor"])
    assert second["ids"] == pages[1]
    assert second["previous_cursor"] < 0
    back = body(service(seed=4, page_cap=50), "followers/ids", user_id=HUB, cursor=second["previous_cursor"])
    assert back["ids"] == pages[0]
    assert body(service(), "followers/ids", user_id=HUB, cursor=0)["ids"] == []


def test_a_cursor_of_another_list_is_refused() -> None:
    foreign = body(service(page_cap=50), "followers/ids", user_id=HUB)["next_cursor"]
    assert refusal(service(page_cap=50), "friends/ids", user_id=HUB, cursor=foreign) == (403, 44)


def test_ids_come_as_strings_where_that_is_asked_in_any_case_of_letters() -> None:
    for yes in ("true", "True", "TRUE", "1", "t"):
        ids = body(service(), "followers/ids", user_id=HUB, stringify_ids=yes)["ids"]
        assert ids == [str(one) for one in members(HUB, "followers/ids")]
    assert body(service(), "followers/ids", user_id=HUB, stringify_ids="false")["ids"] == members(HUB, "followers/ids")


def test_a_repeated_cursor_is_repeated_on_that_try_only() -> None:
    asked = service(faults="repeat_cursor=0.5", page_cap=40, seed=3)
    repeated, page, cursor = 0, 0, -1
    while cursor:
        got = body(asked, "followers/ids", user_id=HUB, cursor=cursor)
        assert got["ids"] == members(HUB, "followers/ids")[page : page + 40]
        if got["next_cursor"] == cursor:
            repeated += 1
            continue
        page, cursor = page + 40, got["next_cursor"]
    assert repeated


def test_a_cut_answer_is_whole_underneath() -> None:
    asked = service(faults="truncate=1")
    got = answer(asked, "users/show", user_id=HUB)
    assert got.cut is Cut.TRUNCATE
    assert json.loads(got.body)["id"] == HUB


def test_extended_and_trimmed_posts_have_their_shape() -> None:
    shape = {"tweet_mode": "extended", "trim_user": "true"}
    (post,) = body(service(), "statuses/user_timeline", user_id=WRITER, count=1, **shape)
    assert post["display_text_range"] == [0, len(post["full_text"])]
    assert "text" not in post
    assert post["user"] == {"id": WRITER, "id_str": str(WRITER)}
