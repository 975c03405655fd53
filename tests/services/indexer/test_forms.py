"""One text is found alike in whichever form a service wrote it: plain, extended, reposted, quoted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.indexer.engines.index_location import ENGINES, ElasticLocation, IndexLocation, LocalLocation
from services.indexer.posts import READING, Document, document
from services.indexer.progress import IndexProgress
from services.indexer.query import parse
from services.indexer.rebuild import opened, rebuild
from services.subscriber.consumer import Position
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.written import dataset_in

BEGIN = "the first words of a post that says what it has to say only behind the place where it would be cut, "
TEXT = BEGIN + "which is why its end matters: the ferry leaves at nine &amp; comes back #Isola"
TAGS = [{"text": "Isola", "indices": [len(TEXT) - 6, len(TEXT)]}]
CUT = TEXT[:115] + "… https://t.co/0123456789"
ADA = {"id_str": "7", "screen_name": "ada"}
OF_A_REPOST = {"text": "RT @ada: " + TEXT[:130] + "…", "truncated": False, "entities": {"hashtags": []}}

WHOLE = {"full_text": TEXT, "entities": {"hashtags": TAGS}}
COMPATIBLE = {"text": CUT, "truncated": True, "entities": {"hashtags": []}, "extended_tweet": WHOLE}
BSKY_TAG = {"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "Isola"}]}
BSKY = {"text": TEXT, "facets": [BSKY_TAG]}

PLAIN: dict[str, dict[str, Any]] = {
    "plain": {"text": TEXT, "entities": {"hashtags": TAGS}},
    "extended": WHOLE,
    "compatible": COMPATIBLE,
    "bluesky": {"record": BSKY},
    "mastodon": {"content": TEXT, "tags": [{"name": "isola"}]},
}
REPOSTS: dict[str, dict[str, Any]] = {
    "repost": {**OF_A_REPOST, "retweeted_status": {**WHOLE, "user": ADA}},
    "repost, extended": {**OF_A_REPOST, "full_text": OF_A_REPOST["text"], "retweeted_status": {**WHOLE, "user": ADA}},
    "repost, compatible": {**OF_A_REPOST, "retweeted_status": {**COMPATIBLE, "user": ADA}},
    "reblog": {"content": "", "tags": [], "reblog": {"content": TEXT, "tags": [{"name": "isola"}]}},
}
QUOTES: dict[str, dict[str, Any]] = {
    "quote": {"text": "look", "quoted_status": {**PLAIN["plain"], "user": ADA}},
    "quote, extended": {"full_text": "look", "quoted_status": {**WHOLE, "user": ADA}},
    "quote, compatible": {"text": "look", "quoted_status": {**COMPATIBLE, "user": ADA}},
    "repost of a quote": {"text": "RT @bob: look", "retweeted_status": {"text": "look", "quoted_status": WHOLE}},
    "mastodon's quote": {"content": "look", "quote": {"state": "accepted", "quoted_status": {**PLAIN["mastodon"]}}},
    "bluesky's quote": {"record": {"text": "look"}, "embed": {"record": {"value": BSKY, "author": {"handle": "ada"}}}},
    "bluesky's with a picture": {"record": {"text": "look"}, "embed": {"record": {"record": {"value": BSKY}}}},
}
FORMS = PLAIN | REPOSTS | QUOTES


def line(number: int, form: dict[str, Any]) -> bytes:
    return orjson.dumps({"id_str": str(number), "user": {"id_str": "12", "screen_name": "bob"}, **form})


def posts() -> dict[str, Document]:
    """A post in each form, and one that says something else."""
    lines = [line(number, form) for number, form in enumerate(FORMS.values(), 1)]
    others = [line(99, {"text": "the ferry is late #other"})]
    return {post.id: post for post in (document(one, "12") for one in lines + others)}


@pytest.mark.parametrize("form", FORMS)
def test_a_person_reads_the_whole_text(form: str) -> None:
    post = document(line(1, FORMS[form]), "12")
    assert post.text.endswith(TEXT)
    assert post.text.startswith(
        TEXT if form in PLAIN else ("RT @", TEXT) if form in REPOSTS else ("look", "RT @bob: look")
    )
    assert post.hashtags == ("isola",)
    assert post.screen_name == "bob"


@pytest.mark.parametrize("form", QUOTES)
def test_no_phrase_reaches_from_a_post_into_what_it_quotes(form: str) -> None:
    words = document(line(1, QUOTES[form]), "12").words
    assert words[words.index("look") + 1] == "qt"


def test_what_a_quoted_post_quotes_itself_does_not_take_its_place() -> None:
    quote = {"text": "look", "quoted_status": {**PLAIN["plain"], "quoted_status": {"text": "further in"}}}
    assert document(line(1, quote), "12").text == f"look\nQT @: {TEXT}"


def found(home: IndexLocation) -> dict[str, set[str]]:
    index = home.begin()
    index.commit(posts(), None)
    index = home.finish(index)
    assert index.count() == len(FORMS) + 1  # also lets a server find at once what was committed
    questions = ("#isola", "hashtags:ISOLA", "ferry", '"leaves at nine comes back"', '"ferry leaves" #isola')
    answers = {asked: {post.id for post in index.search(parse(asked)).hits} for asked in questions}
    assert index.search(parse("#isola", tags=5)).hashtags == (("isola", len(FORMS)),)
    index.close()
    return answers


def check(answers: dict[str, set[str]]) -> None:
    alike = {str(number) for number in range(1, len(FORMS) + 1)}
    assert answers.pop("ferry") == alike | {"99"}
    assert all(answer == alike for answer in answers.values()), answers


@pytest.mark.parametrize("engine", ENGINES)
def test_a_text_is_found_alike_in_every_form(engine: str, tmp_path: Path) -> None:
    check(found(LocalLocation(tmp_path, engine)))


@pytest.mark.slow
def test_a_text_is_found_alike_in_every_form_on_a_search_server(search_server: OpenSearch, tmp_path: Path) -> None:
    check(found(ElasticLocation(search_server.url, "main", tmp_path)))


def test_the_hashtags_of_a_hostile_repost_are_bounded() -> None:
    many = {"entities": {"hashtags": [{"text": f"t{number}"} for number in range(5_000)]}}
    post = document(orjson.dumps({"id": 1, "retweeted_status": {**many, "quoted_status": many}}), "12")
    assert len(post.hashtags) == 100


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_of_an_earlier_version_goes_on_and_says_what_it_lacks(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, home = dataset_in(tmp_path / "data"), LocalLocation(tmp_path / "index", engine)
    index = rebuild(home, dataset).index
    index.commit({}, '{"position":"a:b:3","open":{}}')
    index.close()
    for _ in range(2):
        index = opened(home, dataset)
        # It goes on, and is still known for an old one.
        index.commit({}, IndexProgress.unpacked(index.mark()).at(Position("a", "b", 4)).packed())
        index.close()
    assert [message.partition(",")[0] for message in caplog.messages] == [
        "the index was made by an earlier version"
    ] * 2
    rebuild(home, dataset).index.close()
    caplog.clear()
    index = opened(home, dataset)
    assert IndexProgress.unpacked(index.mark()) == IndexProgress(Position("a", "b", 4), {}, READING)
    index.close()
    assert not caplog.messages


WRONG: list[Callable[[Any], dict[str, Any]]] = [
    lambda value: {"retweeted_status": value},
    lambda value: {"quoted_status": value},
    lambda value: {"quote": {"quoted_status": value}},
    lambda value: {"embed": value},
    lambda value: {"embed": {"record": value}},
    lambda value: {"embed": {"record": {"value": value}}},
    lambda value: {"facets": value},
    lambda value: {"facets": [value]},
    lambda value: {"facets": [{"features": value}]},
    lambda value: {"facets": [{"features": [value]}]},
    lambda value: {"retweeted_status": {"user": value, "extended_tweet": value, "entities": value}},
]


@pytest.mark.parametrize("where", range(len(WRONG)))
def test_a_strange_form_is_left_out_and_refuses_no_post(where: int) -> None:
    values: tuple[Any, ...] = (None, 1, 1.5, True, "x", [], [1], {}, {"a": 1}, [None], [[]], [{"tag": 1}])
    for value in values:
        assert document(line(1, {"text": "rain", **WRONG[where](value)}), "12").text.startswith("rain")
