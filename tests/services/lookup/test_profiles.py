"""What is read of a profile, and which of two counts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from protocol.errors import MalformedError
from services.lookup.profiles import LATEST, MAX_BODY_BYTES, moment, newest, parsed
from tests.services.lookup.making import profile


def test_an_id_is_a_text_as_the_service_writes_it() -> None:
    assert parsed(b'{"id":9007199254740993,"id_str":"9007199254740993"}').id == "9007199254740993"
    assert parsed(b'{"id":18446744073709551615}').id == "18446744073709551615"
    assert parsed(b'{"did":"did:plc:abc","handle":"someone.example"}').id == "did:plc:abc"


def test_an_id_beyond_64_bits_is_its_digits() -> None:
    assert parsed(b'{"id":36893488147419103232,"screen_name":"x"}').id == "36893488147419103232"


def test_a_name_may_be_missing_and_stands_where_its_network_writes_it() -> None:
    assert parsed(b'{"id":1}').name is None
    assert parsed(b'{"id":1,"screen_name":"a"}').name == "a"
    assert parsed(b'{"id":1,"acct":"a@example.org","username":"a"}').name == "a@example.org"
    assert parsed(b'{"id":1,"screen_name":5,"handle":"b"}').name == "b"
    assert parsed(orjson.dumps({"id": 1, "screen_name": "é" * 128})).name is None


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"null", b"{", b"{}", b'{"id":true}', b'{"id":1.5}', b'{"id_str":""}', b"\xff",
     b'{"id_str":"\\ud800"}', orjson.dumps({"id_str": "x" * 256}),
     b'{"id":1,"x":"' + b"x" * MAX_BODY_BYTES + b'"}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_profile_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(MalformedError, match="a profile"):
        parsed(line)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Wed Aug 27 13:08:45 +0000 2008", 1_219_842_525),
        ("2008-08-27T13:08:45.000Z", 1_219_842_525),
        ("2008-08-27T15:08:45+02:00", 1_219_842_525),
        ("2008-08-27", 1_219_795_200),
        ("Wed Foo 27 13:08:45 +0000 2008", 0),
        ("Wed Aug 99 13:08:45 +0000 2008", 0),
        ("Wed Aug 27 13:08:45 +0000 0000", 0),
        ("0001-01-01T00:00:00+23:59", 0),
        ("9999-12-31T23:59:59-23:59", LATEST),
        ("yesterday", 0),
        (17, 0),
    ],
)
def test_times_are_read_as_services_write_them(text: object, seconds: int) -> None:
    assert moment(text) == seconds


def test_who_posted_last_is_the_newer_then_who_has_more_posts_then_the_larger_bytes() -> None:
    late = profile(1, posts=1, status={"created_at": "Wed Aug 27 13:08:45 +0000 2014"})
    early = profile(1, posts=9, status={"created_at": "Wed Aug 27 13:08:45 +0000 2008"})
    more, fewer, other = profile(1, posts=5), profile(1, posts=4), profile(1, "zzz", posts=4)
    ranked = sorted(map(parsed, [late, early, more, fewer, other]), key=lambda one: one.rank)
    assert [one.body for one in ranked] == [fewer, other, more, early, late]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["id", "id_str", "screen_name", "status", "statuses_count", "last_status_at", "created_at", "x"])


@given(said=st.dictionaries(KEYS, ANYTHING | st.dictionaries(KEYS, ANYTHING, max_size=2)))
def test_no_profile_breaks_the_reader(said: dict[str, Any]) -> None:
    try:
        body = orjson.dumps(said)
    except TypeError:  # half a surrogate pair
        return
    try:
        read = parsed(body)
    except MalformedError:
        return
    assert read.body == body and read.id and 0 <= read.posts <= 2**53 and read.posted >= 0


@given(
    versions=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1), seed=st.randoms()
)
def test_which_one_counts_does_not_depend_on_the_order(versions: list[tuple[int, int, int]], seed: Any) -> None:
    profiles = [parsed(profile(of, str(name), posts=posts)) for of, posts, name in versions]
    shuffled = list(profiles)
    seed.shuffle(shuffled)
    assert newest(profiles) == newest(shuffled)
