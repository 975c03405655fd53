"""The same posts give the same answers from each engine, and they are the ones that looking at every post gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from protocol.errors import UsageError
from services.indexer.engines.index_location import ENGINES, ElasticLocation, IndexLocation, LocalLocation
from services.indexer.index import IndexWriter
from services.indexer.posts import Document, document
from services.indexer.query import Query, Unit, parse
from tests.services.indexer import model
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.written import line

Opened = Callable[[], Iterator[IndexWriter]]

LETTERS = st.sampled_from(
    ["rain", "Rain", "RAIN", "train", "caffè", "CAFFÈ", "cafe\u0301", "ﬁsh", "fish", "電車", "は"]
)
ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TEXTS = st.lists(st.one_of(LETTERS, LETTERS, LETTERS, ODD, st.just("a" * 300), st.just("don't")), max_size=7).map(
    " ".join
)
TAGS = st.sampled_from(["mare", "電車", "open_data", "with blank", "ß", "x" * 120])
NAMES = st.sampled_from(["Ada", "ada", "Bruno", "", "Zoë"])
SECONDS = st.one_of(
    st.integers(1_346_000_000, 1_346_400_000), st.sampled_from([0, 1, 86_399, 86_400, 2**31 - 1, 2**31, 2**32 - 1])
)
POINTS = st.one_of(
    st.none(),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    st.sampled_from([(45.4, 9.2), (0.0, 179.9), (90.0, 0.0)]),
)


@st.composite
def documents(draw: st.DrawFn, identifier: str) -> Document:
    point = draw(POINTS)
    return Document(
        id=identifier,
        account=draw(st.sampled_from(["12", "34", "did:plc:x"])),
        text=draw(TEXTS),
        screen_name=draw(NAMES),
        user_id=draw(st.sampled_from(["12", "34"])),
        created_at=draw(SECONDS),
        hashtags=tuple(dict.fromkeys(draw(st.lists(TAGS, max_size=3)))),
        lang=draw(st.sampled_from(["it", "en", ""])),
        lat=round(point[0], 6) if point else None,
        lon=round(point[1], 6) if point else None,
    )


IDS = st.one_of(
    st.integers(1, 2**63 - 1).map(str),
    st.sampled_from(["at://did:plc:x/app.bsky/1", "../x", "x" * 900, "é", "..", "%2e"]),
)
WORLDS = st.lists(IDS, unique=True, max_size=25).flatmap(
    lambda ids: st.fixed_dictionaries({one: documents(one) for one in ids})
)
PARTS = st.one_of(
    LETTERS,
    TEXTS.map(lambda text: '"' + text.replace('"', "") + '"'),
    ODD.map(lambda text: text.replace(":", "")),
    TAGS.map(lambda tag: f'hashtags:"{tag}"'),
    st.sampled_from(["#mare", "@ADA", "lang:it", "lang:EN", "user:12", "account:34", "has:location", "sort:oldest"]),
    st.sampled_from(["from:2012/08", "to:2012-08-27", "from:2012/08/27T13", "to:2012", "from:1970", "to:2099"]),
    st.sampled_from(["near:45.4,9.2,50", "near:0,179.5,200", "near:0,-179.9,200", "near:89,0,500", "near:0,0,20000"]),
    IDS.filter(lambda one: '"' not in one and len(one) < 100).map(lambda one: f"id:{one}"),
)
QUESTIONS = st.tuples(
    st.lists(PARTS, max_size=3).map(" ".join),
    st.integers(0, 30),
    st.integers(0, 5),
    st.sampled_from([None, Unit.DAY, Unit.MONTH]),
    st.integers(0, 4),
)


def asked(question: tuple[str, int, int, Unit | None, int]) -> Query | None:
    """The query of a question; None when it is refused, which is the same for every engine."""
    text, limit, offset, unit, tags = question
    try:
        return parse(text, limit=limit, offset=offset, unit=unit, tags=tags)
    except UsageError:
        return None


@contextmanager
def filled(home: IndexLocation, posts: dict[str, Document]) -> Iterator[IndexWriter]:
    """A fresh index of these posts, put in by three commits, the second of which the third takes back in part."""
    index = home.begin()
    names = list(posts)
    wrong = {name: Document(id=name, account="9", text="wrong") for name in names[::2]} | {
        "gone": Document("gone", "9")
    }
    index.commit({name: posts[name] for name in names[: len(names) // 2]}, "one")
    index.commit(wrong, "two")
    index.commit({**posts, "gone": None}, "three")
    index = home.finish(index)
    try:
        yield index
    finally:
        index.close()


def check(
    index: IndexWriter, posts: dict[str, Document], questions: list[tuple[str, int, int, Unit | None, int]]
) -> None:
    assert index.mark() == "three"
    assert index.count() == len(posts)
    for account in ("12", "34", "9"):
        assert index.ids_of(account) == {post.id for post in posts.values() if post.account == account}
    for question in questions:
        query = asked(question)
        if query is not None:
            assert index.search(query) == model.answer(posts, query), question
    for identifier, post in list(posts.items())[:3]:
        assert index.post(identifier) == post
    assert index.post("not there") is None


def distinct(posts: dict[str, Document]) -> bool:
    """Whether no two posts have the same place in the order."""
    return len({post.rank for post in posts.values()}) == len(posts)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(posts=WORLDS.filter(distinct), questions=st.lists(QUESTIONS, min_size=1, max_size=8))
def test_a_local_engine_answers_what_looking_at_every_post_gives(
    engine: str, posts: dict[str, Document], questions: list[tuple[str, int, int, Unit | None, int]]
) -> None:
    with TemporaryDirectory() as folder, filled(LocalLocation(Path(folder), engine), posts) as index:
        check(index, posts, questions)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tag_with_nul_is_counted_as_one_and_an_empty_one_not_at_all(engine: str, tmp_path: Path) -> None:
    tags = [("a\0b", "mare"), ("\0", "\0\0"), ("ab",), ()]
    lines = (line(number, "12", tags=tags[number - 1], second=1_346_000_000 + number) for number in range(1, 5))
    posts = {post.id: post for post in (document(one, "12") for one in lines)}
    with filled(LocalLocation(tmp_path, engine), posts) as index:
        assert index.search(parse("", tags=9)) == model.answer(posts, parse("", tags=9))
        assert index.search(parse("", tags=9)).hashtags == (("ab", 2), ("mare", 1))
        assert index.search(parse('hashtags:"a\0b"')).total == 2


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(posts=WORLDS.filter(distinct), questions=st.lists(QUESTIONS, min_size=1, max_size=8))
def test_a_search_server_answers_what_looking_at_every_post_gives(
    search_server: OpenSearch,
    tmp_path: Path,
    posts: dict[str, Document],
    questions: list[tuple[str, int, int, Unit | None, int]],
) -> None:
    home = ElasticLocation(search_server.url, "main", tmp_path)
    former = home.present()
    with filled(home, posts) as index:
        check(index, posts, questions)
    if former:
        home.remove(former)
