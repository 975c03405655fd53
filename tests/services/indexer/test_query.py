"""What may be asked, and what is refused before an engine sees it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import UsageError
from services.indexer.query import MAX_TERMS, Between, Phrase, Query, Term, Unit, parse


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("rain Train", (Phrase(("rain",)), Phrase(("train",)))),
        ('"early  train"', (Phrase(("early", "train")),)),
        ("don't", (Phrase(("don", "t")),)),
        ("#Mare hashtags:sole", (Term("hashtags", "mare"), Term("hashtags", "sole"))),
        ("@Ada screen_name:Bruno", (Term("screen_name", "ada"), Term("screen_name", "bruno"))),
        ("id:7 user:8 account:9", (Term("id", "7"), Term("user", "8"), Term("account", "9"))),
        ("http://a.it", (Phrase(("http", "a", "it")),)),
        ("from:2012/08 to:2012-08", (Between("created", 1_343_779_200, 1_346_457_599),)),
        ("to:2012/08/27T13:08", (Between("created", 1, 1_346_072_939),)),
        ("has:location", (Term("has", "location"),)),
        ("near:0,180,111.195", (Between("lat", -1_000_000, 1_000_000), Between("lon", 178_999_848, -178_999_848))),
        ("near:90,0,10", (Between("lat", 89_910_068, 90_000_000),)),
        ("", ()),
        ("sort:oldest", ()),
    ],
)
def test_a_text_means_these_clauses(text: str, clauses: tuple[object, ...]) -> None:
    assert parse(text).clauses == clauses


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * 1_001, "1,001 characters"),
        (" ".join("abcdefgh"[n % 8] * (n + 1) for n in range(MAX_TERMS + 1)), "33 words"),
        ("…", "no word"),
        ("lang:", "without a blank"),
        ("from:yesterday", "2012/08/27"),
        ("from:2012/13", "2012/08/27"),
        ("from:2013 to:2012", "later"),
        ("near:1,2", "LAT,LON,KM"),
        ("near:nan,2,3", "latitude"),
        ("near:1,2,inf", "latitude"),
        ("sort:best", "newest or oldest"),
        ("has:picture", "location"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text)


@pytest.mark.parametrize("text", ["id:\udcff", "user:12\ud83d", "#\udcff", "rain \ud83d", '"\udcff"'])
def test_what_is_not_utf_8_is_no_query(text: str) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        parse(text)


@pytest.mark.parametrize("more", [{"limit": 1_001}, {"limit": -1}, {"offset": -1}, {"offset": 9_990}, {"tags": 101}])
def test_no_more_may_be_asked_for_than_every_engine_gives(more: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        parse("rain", **more)  # type: ignore[arg-type]


def test_counts_by_the_hour_need_an_end_and_a_beginning() -> None:
    with pytest.raises(UsageError, match="400 days"):
        parse("rain", unit=Unit.HOUR)
    assert parse("from:2012 to:2012", unit=Unit.HOUR).unit is Unit.HOUR


@given(st.text(max_size=300), st.integers(-5, 12_000), st.integers(-5, 12_000))
def test_any_text_is_a_query_or_refused_in_words(text: str, limit: int, offset: int) -> None:
    try:
        query = parse(text, limit=limit, offset=offset)
    except UsageError as error:
        assert str(error)
    else:
        assert isinstance(query, Query)
        assert sum(len(one.words) if isinstance(one, Phrase) else 1 for one in query.clauses) <= MAX_TERMS + 3


def test_asking_for_places_asks_for_nothing_else() -> None:
    query = parse("rain", unit=Unit.DAY, tags=5, offset=40).located(7)
    assert query == Query((Phrase(("rain",)), Term("has", "location")), limit=7)
