"""What of a stored line becomes a document."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from protocol.errors import MalformedError
from services.emulator.worlds.synthetic import SyntheticWorld
from services.emulator.worlds.world import Style
from services.indexer.posts import LATEST, MAX_TAGS, Document, document, shown_time

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=9)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ("text", "full_text", "extended_tweet", "user", "account", "author", "entities", "tags", "coordinates")
) | st.sampled_from(("geo", "created_at", "lang", "record", "hashtags"))


def test_a_post_of_the_first_api_is_read_whole() -> None:
    post = {
        "created_at": "Mon Aug 27 13:08:45 +0000 2012",
        "id": 240_070_000_000_000_001,
        "id_str": "240070000000000001",
        "full_text": "Treno &amp; mare #Roma",
        "entities": {"hashtags": [{"text": "Roma"}, {"text": "roma"}]},
        "coordinates": {"type": "Point", "coordinates": [12.5, 41.9]},
        "lang": "it",
        "user": {"id_str": "22013880", "screen_name": "Ada"},
    }
    assert document(orjson.dumps(post), "22013880") == Document(
        id="240070000000000001",
        account="22013880",
        text="Treno &amp; mare #Roma",
        screen_name="Ada",
        user_id="22013880",
        created_at=1_346_072_925,
        hashtags=("roma",),
        lang="it",
        lat=41.9,
        lon=12.5,
    )
    assert document(orjson.dumps(post), "22013880").words == ["treno", "mare", "roma"]
    assert shown_time(1_346_072_925) == "2012/08/27 13:08:45"


def test_a_post_of_the_second_api_is_read_too() -> None:
    post = {
        "id": "7",
        "author_id": "12",
        "text": "rain",
        "created_at": "2012-08-27T13:08:45.000Z",
        "entities": {"hashtags": [{"tag": "Roma"}]},
        "geo": {"coordinates": {"type": "Point", "coordinates": [12.5, 41.9]}},
        "lang": "en",
    }
    found = document(orjson.dumps(post), "12")
    assert (found.user_id, found.created_at, found.hashtags, found.lat) == ("12", 1_346_072_925, ("roma",), 41.9)


def test_an_older_geo_has_the_latitude_first() -> None:
    found = document(b'{"id":1,"geo":{"type":"Point","coordinates":[41.9,12.5]}}', "12")
    assert (found.lat, found.lon) == (41.9, 12.5)


def test_what_the_emulator_writes_is_read() -> None:
    world = SyntheticWorld(100, 4)
    account = next(one for one in map(world.find, world.ids(0, 100)) if one and one.posts > 30)
    lines = world.posts(account, 0, 30, Style(trim_user=False, extended=True))
    found = [document(line, str(account.id)) for line in lines]
    assert all(post.text and post.screen_name and post.created_at > 1_293_840_000 and post.lang for post in found)
    assert [post.rank for post in found] == sorted((post.rank for post in found), reverse=True)
    assert any(post.hashtags for post in found)


@given(st.dictionaries(KEYS, JSON))
def test_no_form_of_a_field_refuses_a_post(fields: dict[str, object]) -> None:
    found = document(orjson.dumps({"id": 9, **fields}), "12")
    assert found.id == "9"
    assert 0 <= found.created_at <= LATEST
    assert -(2**63) <= found.rank < 2**63
    assert Document.unpacked(found.packed()) == found


def test_a_line_without_an_id_is_refused_in_words() -> None:
    with pytest.raises(MalformedError, match="no id"):
        document(b'{"text":"x"}', "12")


def test_the_hashtags_of_a_hostile_post_are_bounded() -> None:
    tags = [{"text": f"t{number}"} for number in range(5_000)]
    assert len(document(orjson.dumps({"id": 1, "entities": {"hashtags": tags}}), "12").hashtags) == MAX_TAGS
