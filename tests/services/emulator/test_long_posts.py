"""Texts of more than 140 characters, reposts and quotes: cut as the service cut them, and whole when that is asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.emulator.api.forms import in_style
from services.emulator.api.http_messages import Request
from services.emulator.api.truth import TruthCalls
from services.emulator.worlds.dataset_world import DatasetWorld
from services.emulator.worlds.shortening import counted
from services.emulator.worlds.world import Account, AccountState, Style
from tests.services.emulator.asking import WORLD, accounts, body, service

Post = dict[str, Any]
WRITERS = [
    account for user in accounts(WORLD, AccountState.PUBLIC) if (account := WORLD.find(user)) and account.posts > 40
]
NESTED = ("retweeted_status", "quoted_status")


def timeline(account: Account, **asked: object) -> list[Post]:
    got: list[Post] = body(service(), "statuses/user_timeline", user_id=account.id, count=200, **asked)
    return got


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Post, Post]]:
    """Posts in the compatible form and in the extended one."""
    found: list[tuple[Post, Post]] = []
    for account in WRITERS[:40]:
        found += zip(timeline(account), timeline(account, tweet_mode="extended"), strict=True)
    return found


def kind(post: Post) -> str:
    return next((key for key in NESTED if key in post), "plain")


@pytest.mark.slow
def test_every_kind_of_post_has_its_share(pairs: list[tuple[Post, Post]]) -> None:
    shares = {name: posts / len(pairs) for name, posts in Counter(kind(whole) for _, whole in pairs).items()}
    assert 0.12 < shares["retweeted_status"] < 0.3
    assert 0.04 < shares["quoted_status"] < 0.15
    assert 0.1 < sum(short["truncated"] for short, _ in pairs) / len(pairs) < 0.4


def test_no_post_is_longer_than_the_service_lets_people_write_and_many_are_longer_than_140(
    pairs: list[tuple[Post, Post]],
) -> None:
    lengths = []
    for _, whole in pairs:
        said = whole.get("retweeted_status", whole)
        begin, end = said["display_text_range"]
        lengths.append(counted(said["full_text"][begin:end]))
    assert max(lengths) <= 280
    assert sum(length > 140 for length in lengths) > len(lengths) / 10
    # Wide letters and joined emoji are counted as the service counts them.
    assert counted("電車 👩‍👩‍👧 è") == 4 + 1 + 2 + 1 + 1


def test_a_text_has_one_name_in_each_form(pairs: list[tuple[Post, Post]]) -> None:
    for short, whole in pairs:
        for post, has, has_not in ((short, "text", "full_text"), (whole, "full_text", "text")):
            for one in (post, *(post[key] for key in NESTED if key in post)):
                assert has in one and has_not not in one
                assert ("display_text_range" in one) == (has == "full_text")


def test_a_long_text_is_cut_and_ends_with_a_link_unless_it_is_asked_for_whole(pairs: list[tuple[Post, Post]]) -> None:
    cut = 0
    for short, whole in pairs:
        assert whole["truncated"] is False
        assert len(short["text"]) <= 140
        said, full = short["text"], whole["full_text"]
        if kind(whole) == "retweeted_status" or len(full) <= 140:
            assert said == full and short["truncated"] is False
            assert short["entities"] == whole["entities"]
            continue
        cut += 1
        assert short["truncated"] is True
        beginning, _, link = said.partition("… https://t.co/")
        assert full.startswith(beginning) and len(link) == 10
        *others, last = short["entities"]["urls"]
        assert last["expanded_url"] == f"https://twitter.com/i/web/status/{short['id']}"
        assert said[slice(*last["indices"])] == last["url"] and said.endswith(last["url"])
        within = {**short["entities"], "urls": others}
        for name, items in whole["entities"].items():
            assert within.get(name, []) == [item for item in items if item["indices"][1] <= len(beginning)]
    assert cut > 100


def test_entities_stand_where_they_say(pairs: list[tuple[Post, Post]]) -> None:
    forms = {"hashtags": "#{text}", "user_mentions": "@{screen_name}", "urls": "{url}"}
    for pair in pairs:
        for post in (*pair, *(one[key] for one in pair for key in NESTED if key in one)):
            text = post.get("text", post.get("full_text"))
            for name, items in post["entities"].items():
                assert items
                for item in items:
                    assert text[slice(*item["indices"])] == forms[name].format(**item)


def test_a_repost_is_cut_in_both_forms_and_has_the_whole_original_in_it(pairs: list[tuple[Post, Post]]) -> None:
    reposts = [pair for pair in pairs if kind(pair[1]) == "retweeted_status"]
    for short, whole in reposts:
        original = whole["retweeted_status"]
        said = f"RT @{original['user']['screen_name']}: {original['full_text']}"
        assert whole["full_text"] == short["text"] == (said if len(said) <= 140 else said[:139] + "…")
        assert whole["display_text_range"] == [0, len(whole["full_text"])]
        assert whole["entities"]["user_mentions"][0]["id"] == original["user"]["id"]
        assert short["retweeted_status"]["truncated"] == (len(original["full_text"]) > 140)
    assert any(len(short["text"]) == 140 for short, _ in reposts)


def test_what_is_reposted_or_quoted_stands_in_the_timeline_of_its_author(pairs: list[tuple[Post, Post]]) -> None:
    for short, whole in pairs:
        for post, style in ((short, Style()), (whole, Style(extended=True))):
            if (name := kind(post)) == "plain":
                continue
            original = post[name]
            account = WORLD.find(original["user"]["id"])
            assert account and account.state is AccountState.PUBLIC
            at = WORLD.locate(account, original["id"])
            assert json.loads(WORLD.posts(account, at, at + 1, style)[0]) == original
            assert original["id"] < post["id"]


def test_a_quote_links_to_what_it_quotes(pairs: list[tuple[Post, Post]]) -> None:
    for _, whole in pairs:
        assert whole["is_quote_status"] == ("quoted_status" in whole)
        if quoted := whole.get("quoted_status"):
            assert whole["quoted_status_id_str"] == str(whole["quoted_status_id"]) == quoted["id_str"]
            link = whole["entities"]["urls"][-1]
            assert whole["full_text"].endswith(" " + link["url"])
            assert link["expanded_url"].endswith(f"/{quoted['user']['screen_name']}/status/{quoted['id']}")
            assert whole["display_text_range"][1] == len(whole["full_text"]) - len(link["url"]) - 1


def test_reposts_and_replies_are_left_out_when_that_is_asked(pairs: list[tuple[Post, Post]]) -> None:
    for account in WRITERS[:10]:
        every = timeline(account)
        assert timeline(account, include_rts="true", exclude_replies="false") == every
        no_reposts = [post for post in every if "retweeted_status" not in post]
        assert timeline(account, include_rts="false") == no_reposts != every
        no_replies = [post for post in every if "in_reply_to_user_id" not in post]
        assert timeline(account, exclude_replies="true") == no_replies != every


def test_a_trimmed_author_is_trimmed_in_what_is_reposted_too() -> None:
    for account in WRITERS[:10]:
        for post in timeline(account, trim_user="true", tweet_mode="extended"):
            for one in (post, *(post[key] for key in NESTED if key in post)):
                assert one["user"] == {"id": one["user"]["id"], "id_str": str(one["user"]["id"])}


def test_the_truth_knows_the_whole_texts() -> None:
    told = TruthCalls(service())
    account = WRITERS[0]
    answer = told.answer(Request("GET", f"/_truth/posts/{account.id}", {}, {}, "127.0.0.1"))
    assert answer
    posts = json.loads(answer.body)["posts"]
    assert [post["id"] for post in posts] == WORLD.post_ids(account)
    assert {post["kind"] for post in posts} == {"plain", "repost", "quote"}
    for said, line in zip(posts, WORLD.posts(account, 0, account.posts, Style(extended=True)), strict=True):
        post = json.loads(line)
        assert said["text"] == post.get("retweeted_status", post)["full_text"]
        assert said.get("quoted", {}).get("text") == post.get("quoted_status", {}).get("full_text")


def dataset(folder: Path, lines: list[bytes]) -> DatasetWorld:
    (folder / "12").mkdir(parents=True)
    (folder / "12" / "12.twt").write_bytes(b"".join(line + b"\n" for line in lines))
    return DatasetWorld(folder, 1)


@pytest.mark.parametrize("trim_user", [False, True])
def test_a_stored_timeline_is_served_in_the_form_that_is_asked_for(tmp_path: Path, trim_user: bool) -> None:
    account = WRITERS[0]
    short, whole = Style(trim_user=trim_user), Style(extended=True, trim_user=trim_user)
    world = dataset(tmp_path, WORLD.posts(account, 0, 60, Style(extended=True)))
    stored = world.find(12)
    assert stored
    assert [json.loads(line) for line in world.posts(stored, 0, 60, whole)] == [
        json.loads(line) for line in WORLD.posts(account, 0, 60, whole)
    ]
    assert [json.loads(line) for line in world.posts(stored, 0, 60, short)] == [
        json.loads(line) for line in WORLD.posts(account, 0, 60, short)
    ]


def test_what_was_stored_cut_is_served_cut_and_what_is_whole_elsewhere_in_it_is_served_whole(tmp_path: Path) -> None:
    lines = [
        b'{"id":3,"text":"the beginning\xe2\x80\xa6 https://t.co/x","truncated":true}',
        b'{"id":2,"text":"a","truncated":true,"extended_tweet":{"full_text":"all","display_text_range":[0,3]}}',
        b'{"id":1,"text":"short"}',
    ]
    world = dataset(tmp_path, lines)
    stored = world.find(12)
    assert stored
    assert world.posts(stored, 0, 9, Style()) == lines
    cut, more, plain = world.posts(stored, 0, 9, Style(extended=True))
    assert cut == lines[0]
    assert json.loads(more) == {"id": 2, "truncated": False, "full_text": "all", "display_text_range": [0, 3]}
    assert json.loads(plain) == {"id": 1, "full_text": "short", "display_text_range": [0, 5]}


def test_a_stored_post_without_a_number_is_served_whole_where_others_are_cut() -> None:
    quoted = {"full_text": "long " * 40}
    line = json.dumps({"id": 1, "full_text": "s", "quoted_status": quoted}).encode()
    served = in_style(line, Style(extended=False, trim_user=False))
    assert served is not None and json.loads(served)["quoted_status"] == {"text": quoted["full_text"]}
