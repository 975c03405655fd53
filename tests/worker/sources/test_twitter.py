"""Twitter as a source: what its answers mean, and whom it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from protocol.errors import UsageError
from protocol.jobs import Outcome
from protocol.settings.settings import Settings
from tests.worker.scripted import Reply, Scripted
from worker.client import retrying_client
from worker.client.allowance import RequestAllowance
from worker.client.errors import UnavailableError
from worker.client.http import HttpAnswer
from worker.client.retrying_client import ServiceError
from worker.sources.twitter import Twitter, TwitterReader, said


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_client, "FIRST_REST_S", 0.001)


def reader(service: Scripted, who: str = "", *, proven: bool = True, **settings: Any) -> TwitterReader:
    twitter = Twitter(Settings(base_url=service.url, **settings))
    twitter._client_context.proven = proven
    return twitter.reader(who or twitter.callers()[0].who, RequestAllowance(100), lambda told: None)


def error(status: int, code: int, message: str = "words") -> Reply:
    return Reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


def page(*documents: object) -> Reply:
    return Reply(body=json.dumps(list(documents)).encode())


NOT_AUTHORIZED = Reply(401, b'{"request": "/1.1/x.json", "error": "Not authorized."}')
CALLS: list[Callable[[TwitterReader], object]] = [
    lambda to: to.posts("12", "", ""),
    lambda to: to.followers("12", ""),
    lambda to: to.profiles(["12"]),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (NOT_AUTHORIZED, Outcome.PROTECTED),
        (error(403, 63), Outcome.SUSPENDED),
        (error(404, 34), Outcome.DELETED),
        (error(404, 50), Outcome.DELETED),
    ],
)
def test_an_account_that_is_not_shown_is_an_outcome(
    service: Scripted, call: Callable[[TwitterReader], object], reply: Reply, outcome: Outcome
) -> None:
    service.answers(reply)
    with pytest.raises(UnavailableError) as refused:
        call(reader(service))
    assert refused.value.outcome is outcome
    assert len(service.asked) == 1


def test_no_account_is_buried_on_the_word_of_a_service_that_gave_nothing_yet(service: Scripted) -> None:
    service.answers(error(404, 34))
    with pytest.raises(ServiceError, match="check --base-url"):
        CALLS[0](reader(service, proven=False))


@pytest.mark.parametrize(
    "reply", [error(401, 32, "Could not authenticate you."), error(401, 89), error(400, 215), Reply(401, b"<html>")]
)
def test_a_wrong_credential_is_said_to_be_one(service: Scripted, reply: Reply) -> None:
    service.answers(reply)
    with pytest.raises(ServiceError, match="check bearer_token"):
        reader(service).posts("12", "", "")


@pytest.mark.parametrize("reply", [Reply(404, b"<html>not here</html>"), Reply(404, b"{}"), error(403, 44)])
def test_a_refusal_that_says_nothing_of_the_account_is_a_failure_and_no_tombstone(
    service: Scripted, reply: Reply
) -> None:
    service.answers(reply)
    with pytest.raises(ServiceError):
        reader(service).posts("12", "", "")
    assert len(service.asked) == 1


def test_a_redirect_is_a_failure_that_names_its_place(service: Scripted) -> None:
    service.answers(Reply(301, b"", {"Location": "https://elsewhere.example/"}))
    with pytest.raises(ServiceError, match=r"https://elsewhere\.example/.*--base-url"):
        reader(service).posts("12", "", "")


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"NaN", b'{"a": 1}', b"[1]", b"[{}]", b'[{"id_str": "x"}]', b'[{"id": true}]', b'{"errors": []}'],
)
def test_a_good_status_with_a_bad_body_is_tried_again(service: Scripted, body: bytes) -> None:
    service.answers(Reply(body=body), page({"id_str": "7"}))
    assert reader(service).posts("12", "", "").records[0].id == "7"


def test_posts_are_asked_for_by_max_id_down_to_an_empty_page(service: Scripted) -> None:
    service.answers(page({"id": 9, "user": {"statuses_count": 4}}, {"id_str": "7", "id": 7}), page({"id": 5}), page())
    line = reader(service)
    got = line.posts("12", "", "3")
    assert [record.id for record in got.records] == ["9", "7"]
    assert json.loads(got.records[1].line) == {"id_str": "7", "id": 7}
    assert (got.next, got.expected) == ("6", 4)
    assert line.posts("12", got.next, "").next == "4"
    assert line.posts("12", "4", "").next == ""
    assert service.asked[0].params == {"user_id": "12", "count": "200", "since_id": "3", "tweet_mode": "extended"}
    assert service.asked[1].params["max_id"] == "6"


def test_a_timeline_that_does_not_go_back_never_leads_forward_again(service: Scripted) -> None:
    service.answers(page({"id": 900}))
    assert reader(service).posts("12", "500", "").next == "500"


@pytest.mark.parametrize("count", [2**53, 2**64 - 1, 2**70, -1, 1.5, True, "7", None])
def test_a_number_of_posts_that_cannot_be_is_no_number(service: Scripted, count: object) -> None:
    service.answers(page({"id": 9, "user": {"statuses_count": count}}))
    assert reader(service).posts("12", "", "").expected is None


@pytest.mark.parametrize("call", [CALLS[0], CALLS[2]])
def test_what_is_nested_too_deep_to_be_kept_is_tried_again_and_then_a_failure_in_words(
    service: Scripted, call: Callable[[TwitterReader], object]
) -> None:
    deep = Reply(body=b'[{"id": 12, "x": ' + b"[" * 1_100 + b"]" * 1_100 + b"}]")
    service.answers(deep, page({"id": 12}))
    call(reader(service))
    service.answers(deep)
    with pytest.raises(ServiceError, match=r"the answer is 200, but|an object of the answer"):
        call(reader(service, max_attempts=2))


def test_a_post_with_half_a_character_is_kept_as_a_line_that_can_be_read(service: Scripted) -> None:
    service.answers(Reply(body=b'[{"id": 9, "text": "a\\ud83d"}]'))
    [record] = reader(service).posts("12", "", "").records
    assert orjson.loads(record.line) == {"id": 9, "text": "a\ufffd"}


def test_only_profiles_that_were_asked_for_are_taken_and_each_once(service: Scripted) -> None:
    ids = [3, 1, 99, 1, *range(1_000, 3_000)]
    service.answers(page(*({"id": one, "place": place} for place, one in enumerate(ids))))
    got = reader(service).profiles(["1", "2", "3"])
    assert [(profile.record.id, profile.fields["place"]) for profile in got] == [("3", 0), ("1", 1)]


def test_ids_of_any_size_are_kept_as_their_digits(service: Scripted) -> None:
    ids = ["18446744073709551617", 12, 2**63 - 1]
    service.answers(Reply(body=json.dumps({"ids": ids, "next_cursor_str": "0"}).encode()))
    got = reader(service).followers("12", "")
    assert [record.id for record in got.records] == [str(one) for one in ids]
    assert got.next == ""
    assert service.asked[0].params["cursor"] == "-1"
    assert service.asked[0].params["stringify_ids"] == "true"


@pytest.mark.parametrize(
    "document",
    [{}, [], {"ids": [1]}, {"ids": "1", "next_cursor": 0}, {"ids": [None], "next_cursor": 0},
     {"ids": ["a\nb"], "next_cursor": 0}, {"ids": [], "next_cursor": "end"}],
)  # fmt: skip
def test_a_page_of_ids_that_is_none_is_tried_again(service: Scripted, document: object) -> None:
    service.answers(Reply(body=json.dumps(document).encode()), Reply(body=b'{"ids": ["5"], "next_cursor": 17}'))
    got = reader(service).followers("12", "-1")
    assert (got.records[0].id, got.next) == ("5", "17")


def test_accounts_of_which_none_is_known_are_an_empty_page(service: Scripted) -> None:
    service.answers(error(404, 17))
    assert reader(service).profiles(["1", "2"]) == []
    assert (service.asked[0].method, service.asked[0].params) == ("POST", {"user_id": "1,2"})


def test_without_a_credential_each_address_is_a_caller_and_a_job_uses_its_own(service: Scripted) -> None:
    twitter = Twitter(Settings(base_url=service.url, bind_ip=("127.0.0.2", "127.0.0.3")))
    assert {(one.operation, one.who) for one in twitter.callers()} == {
        (letter, f"address:127.0.0.{n}") for letter in "TFAU" for n in (2, 3)
    }
    for _ in range(4):
        reader(service, "address:127.0.0.3", bind_ip=("127.0.0.2", "127.0.0.3")).posts("12", "", "")
    assert {question.address for question in service.asked} == {"127.0.0.3"}


def test_with_a_credential_it_is_the_caller_and_calls_leave_in_turn(service: Scripted) -> None:
    settings = Settings(base_url=service.url, bind_ip=("127.0.0.2", "127.0.0.3"), bearer_token="s3cret")
    twitter = Twitter(settings)
    [who] = {one.who for one in twitter.callers()}
    assert who.startswith("credential:")
    assert "s3cret" not in who
    line = twitter.reader(who, RequestAllowance(9), lambda told: None)
    for _ in range(4):
        line.posts("12", "", "")
    assert [question.address for question in service.asked] == ["127.0.0.2", "127.0.0.3"] * 2
    assert {question.headers["authorization"] for question in service.asked} == {"Bearer s3cret"}


def test_a_job_for_a_caller_that_is_not_ours_fails(service: Scripted) -> None:
    with pytest.raises(ServiceError, match=r"address:9\.9\.9\.9"):
        reader(service, "address:9.9.9.9")


@pytest.mark.parametrize(
    "settings",
    [{"bind_ip": ("9.9.9.9",)}, {"bind_ip": ("localhost",)}, {"bearer_token": "a b"}, {"contact": "Zoë"}],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Twitter(Settings(**settings))


def test_it_says_who_it_is(service: Scripted) -> None:
    reader(service, contact="crawl@example.org").posts("12", "", "")
    assert service.asked[0].headers["user-agent"].startswith("twittomatic")
    assert service.asked[0].headers["user-agent"].endswith("(+crawl@example.org)")


@pytest.mark.parametrize(
    ("left", "remaining"), [("7", 7), ("0", 0), ("-1", 0), ("-", None), ("seven", None), ("--1", None)]
)
def test_less_than_nothing_left_is_nothing_left(left: str, remaining: int | None) -> None:
    headers = {"x-rate-limit-limit": "15", "x-rate-limit-remaining": left, "x-rate-limit-reset": "1700000000"}
    heard = said(HttpAnswer(200, headers, b"[]", 1_699_999_000.0))
    assert (heard and heard.remaining) == remaining


@pytest.mark.parametrize("end", ["", "/", "//", "/1.1", "/1.1/", "/1.1//"])
def test_the_version_of_the_api_may_stand_at_the_end_of_the_url(service: Scripted, end: str) -> None:
    service.answers(Reply(body=b'{"ids": [], "next_cursor_str": "0"}'))
    for before in ("", "/below"):
        twitter = Twitter(Settings(base_url=service.url + before + end))
        twitter.reader(twitter.callers()[0].who, RequestAllowance(9), lambda told: None).followers("12", "")
        assert service.asked[-1].path == f"{before}/1.1/followers/ids.json"


def test_the_first_trouble_with_an_endpoint_is_told_at_once_and_once(
    service: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    ids = Reply(body=b'{"ids": [], "next_cursor_str": "0"}')
    service.answers(Reply(500), Reply(502), page(), Reply(503), ids, Reply(500), ids)
    to = reader(service)
    with caplog.at_level("WARNING"):
        to.posts("12", "", "")
        to.followers("12", "")
        to.followers("14", "")
    assert [record.message for record in caplog.records] == [
        "statuses/user_timeline: the service answers 500; it is asked again",
        "followers/ids: the service answers 503; it is asked again",
    ]


def test_posts_that_come_cut_all_the_same_are_stored_as_they_come_and_told_of_once(
    service: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    cut = {"id": 9, "text": "long… https://t.co/x", "truncated": True}
    repost = {"id": 8, "text": "RT", "truncated": False, "retweeted_status": {**cut, "id": 1}}
    whole = {"id": 7, "full_text": "all", "truncated": False, "quoted_status": cut}
    service.answers(page(whole), page(cut, repost, whole), page(cut))
    line = reader(service)
    assert line.posts("12", "", "").records and not caplog.messages
    got = line.posts("12", "", "")
    assert [orjson.loads(record.line) for record in got.records] == [cut, repost, whole]
    assert line.posts("12", "", "").records
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "the service cuts long posts although they are asked for whole"
    ]
