"""How a search server is spoken to: load, absence, faults, strangers, and a second writer."""

from __future__ import annotations

import logging
import os
import signal
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from protocol.errors import UsageError
from protocol.stopping import listening
from protocol.transport.http_routes import ways_of
from services.indexer.command import StopSignal
from services.indexer.engines.elastic import MAX_ACTIONS, ElasticReader, ElasticWriter
from services.indexer.engines.elastic_http import AwayError, SearchServer
from services.indexer.engines.index_location import ElasticLocation, index_name
from services.indexer.index import IndexingError
from services.indexer.posts import Document
from services.indexer.query import Query, parse
from services.indexer.rebuild import opened, rebuild
from tests.ports import free_port
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.scripted_server import Answer, Scripted, scripted
from tests.services.indexer.written import dataset_in, line, on_file, store
from tests.worker import scripted as worker_scripted


@pytest.fixture
def script() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


def posts(number: int) -> dict[str, Document | None]:
    return {str(n): Document(str(n), "12", f"rain {n}", created_at=n) for n in range(1, number + 1)}


def taken(method: str, path: str, body: bytes) -> Answer:
    """A server that takes everything."""
    if path.endswith("_bulk"):
        kinds = [orjson.loads(one) for one in body.splitlines()]
        items = [{next(iter(kind)): {"status": 201}} for kind in kinds if "index" in kind or "delete" in kind]
        return 200, {}, orjson.dumps({"items": items})
    if method == "GET":
        return 404, {}, b'{"found":false}'
    return 201, {}, b'{"_seq_no":1,"_primary_term":1}'


def test_a_busy_server_is_asked_again_when_it_says_and_else_twice_as_late_each_time(script: Scripted) -> None:
    waited: list[float] = []
    script.answers = [(429, {"Retry-After": "7"}, b""), (429, {}, b""), (503, {}, b""), (429, {}, b"busy")]
    assert SearchServer(script.url, patient=True, wait=waited.append).greet() == "elasticsearch 8.15.0"
    assert waited == [7.0, 0.2, 0.4, 0.8]


def test_no_wait_is_longer_than_half_a_minute(script: Scripted) -> None:
    waited: list[float] = []
    script.answers = [(429, {"Retry-After": "86400"}, b"")] + [(429, {}, b"")] * 12
    SearchServer(script.url, patient=True, wait=waited.append).greet()
    assert max(waited) == 30.0


def test_only_the_posts_that_were_refused_for_now_are_sent_again(script: Scripted) -> None:
    waited: list[float] = []
    script.default = taken
    writer = ElasticWriter(SearchServer(script.url, patient=True, wait=waited.append), "i")
    refused = [{"index": {"status": 201}}, {"index": {"status": 429}}, {"index": {"status": 201}}]
    script.answers = [(200, {}, orjson.dumps({"items": refused}))]
    writer.commit(posts(3), "mark")
    bulks = [body for _, path, body in script.asked if path.endswith("_bulk")]
    assert [body.count(b'"_id"') for body in bulks] == [3, 1]
    assert b'"_id":"2"' in bulks[1]
    assert waited == [0.2]
    assert script.asked[-1][1].startswith("/i/_doc/the%20mark")


@pytest.mark.parametrize("odd", [b"[]", b"{}", b'{"items":[{}]}', b'{"items":[]}', b'{"items":[{"index":{}}]}', b"7"])
def test_an_answer_of_a_strange_form_is_told_in_one_sentence(script: Scripted, odd: bytes) -> None:
    script.default = taken
    writer = ElasticWriter(SearchServer(script.url, patient=True), "i")
    script.answers = [(200, {}, odd)]
    with pytest.raises(IndexingError, match="a form that is not known"):
        writer.commit(posts(1), "mark")
    script.answers = [(200, {}, odd)]
    with pytest.raises(IndexingError, match="a form that is not known"):
        writer.search(parse("rain"))


def test_a_bulk_is_bounded_and_the_mark_comes_last(script: Scripted) -> None:
    script.default = taken
    writer = ElasticWriter(SearchServer(script.url, patient=True), "i")
    writer.commit({**posts(MAX_ACTIONS + 1), "1": None}, "mark")
    paths = [path.partition("?")[0] for _, path, _ in script.asked]
    assert paths == ["/i/_doc/the%20mark", "/i/_bulk", "/i/_bulk", "/i/_doc/the%20mark"]


def test_a_post_that_the_server_does_not_take_is_told_in_its_words(script: Scripted) -> None:
    script.default = taken
    writer = ElasticWriter(SearchServer(script.url, patient=True), "i")
    refused = [{"index": {"status": 400, "error": {"reason": "mapper says no"}}}]
    script.answers = [(200, {}, orjson.dumps({"items": refused}))]
    with pytest.raises(IndexingError, match="mapper says no"):
        writer.commit(posts(1), "mark")
    assert not any("_doc" in path for method, path, _ in script.asked if method == "PUT")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, orjson.dumps({"version": {"number": "1.5.2"}}), "Elasticsearch 1.5.2, and 7 or later"),
        (200, orjson.dumps({"version": {"number": "6.8.23"}}), "6.8.23"),
        (200, b"<html>hello</html>", "does not answer as Elasticsearch does"),
        (200, b'{"hello":1}', "neither Elasticsearch nor OpenSearch"),
        (200, b'{"version":"9"}', "neither Elasticsearch nor OpenSearch"),
        (200, b"[]", "neither Elasticsearch nor OpenSearch"),
        (401, b"", "NAME:PASSWORD"),
        (302, b"", "answers 302"),
        (500, b'{"error":"broken"}', "answers 500"),
    ],
)
def test_what_cannot_be_spoken_to_is_refused_in_words(script: Scripted, status: int, body: bytes, words: str) -> None:
    script.answers = [(status, {}, body)]
    with pytest.raises(IndexingError, match=words):
        SearchServer(script.url, patient=True).greet()


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ({"number": "7.0.0"}, "elasticsearch 7.0.0"),
        ({"number": "1.3.0", "distribution": "opensearch"}, "opensearch 1.3.0"),
    ],
)
def test_what_can_be_spoken_to_is_told(script: Scripted, version: dict[str, str], shown: str) -> None:
    script.answers = [(200, {}, orjson.dumps({"version": version}))]
    assert SearchServer(script.url, patient=True).greet() == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://a..b",
        f"http://{'x' * 300}:9200",
        "http://ada:s3cret@host:99999",
        "http://host:0",
        "http://host:port",
        "http://",
        "http://\udcff",
        "http://host/\udcff",
        "",
    ],
)
def test_what_is_no_url_of_a_server_is_refused_in_words(url: str) -> None:
    with pytest.raises(UsageError, match="elasticsearch_url must be a URL such as http://HOST:9200") as refused:
        SearchServer(url, patient=True)
    assert "s3cret" not in str(refused.value)


def test_neither_a_proxy_nor_a_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Scripted
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login stranger password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert SearchServer(script.url, patient=False).greet() == "elasticsearch 8.15.0"
    assert not any("Basic" in said for said in script.authorized)


def test_a_search_server_of_a_private_authority_is_trusted_where_it_is_named() -> None:
    hello = b'{"version": {"number": "8.15.0"}}'
    with worker_scripted.scripted(tls=True) as secure:
        secure.answers(worker_scripted.Reply(body=hello))
        with pytest.raises(IndexingError, match="certificate"):
            SearchServer(secure.url, patient=False).greet()
        ways = ways_of((), (str(worker_scripted.AUTHORITY),))
        assert SearchServer(secure.url, patient=False, ways=ways).greet() == "elasticsearch 8.15.0"


@pytest.mark.parametrize("url", ["http://u:@h:9200", "http://:s3cret@h:9200", "http://:@h:9200"])
def test_an_empty_password_of_a_search_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="empty name or password") as refused:
        SearchServer(url, patient=True)
    assert "s3cret" not in str(refused.value)


def test_a_name_and_a_password_may_have_any_letters(script: Scripted) -> None:
    SearchServer(script.url.replace("//", "//zoë:па%40роль@"), patient=True).greet()
    SearchServer(script.url, patient=True).greet()
    said = b64encode("zoë:па@роль".encode()).decode()
    assert script.authorized == [f"Basic {said}", ""]


def test_an_answer_without_end_is_cut_off(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.indexer.engines.elastic_http.MAX_ANSWER_BYTES", 1_000)
    script.answers = [(200, {}, b"x" * 200_000)]
    with pytest.raises(IndexingError, match="more than 1,000 bytes"):
        SearchServer(script.url, patient=True).greet()


def test_a_password_is_sent_and_never_shown(script: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    script.answers = [(429, {}, b"")]
    server = SearchServer(script.url.replace("//", "//ada:s3cret@"), patient=True, wait=lambda seconds: None)
    with caplog.at_level(logging.INFO):
        server.greet()
    assert server.shown == script.url
    assert "s3cret" not in repr([record.__dict__ for record in caplog.records])


def test_a_reader_says_in_one_sentence_that_the_server_is_away() -> None:
    with pytest.raises(AwayError, match=r"http://127.0.0.1:\d+ is away \(Connection refused\): start it"):
        SearchServer(f"http://127.0.0.1:{free_port()}", patient=False).greet()


def test_a_writer_waits_says_so_once_and_goes_on_by_itself(script: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    server = SearchServer(away, patient=True, wait=lambda seconds: waits.append(seconds))
    waits: list[float] = []

    class Back(list[float]):
        def append(self, seconds: float) -> None:
            super().append(seconds)
            if len(self) == 3:
                server._url = script.url

    waits = Back()
    with caplog.at_level(logging.INFO):
        assert server.greet() == "elasticsearch 8.15.0"
    assert [record.message for record in caplog.records] == [
        "the search server is away or busy; waiting for it",
        "the search server works again",
    ]


def test_a_mark_whose_acknowledgement_was_lost_is_known_again(script: Scripted) -> None:
    script.default = taken
    writer = ElasticWriter(SearchServer(script.url, patient=True), "i")
    found = orjson.dumps({"_seq_no": 4, "_primary_term": 1, "_source": {"mark": "two"}})
    script.answers = [(409, {}, b"{}"), (200, {}, found)]
    writer.commit({}, "two")
    writer.commit({}, "three")
    assert "if_seq_no=4" in script.asked[-1][1]


@pytest.mark.parametrize(
    ("crawl", "name"), [("main", "tmatic-main"), ("a.b-c_1", "tmatic-a.b-c_1"), ("Main", "tmatic-main-ae7c4e9b")]
)
def test_a_crawl_has_an_index_of_its_own(crawl: str, name: str) -> None:
    assert index_name(crawl)[:11] == name[:11]
    assert (index_name(crawl) == name) == (crawl == crawl.lower())


# -------------------------------------------------------------------------------------------------------- a real server


@pytest.mark.slow
def test_a_second_writer_on_another_machine_is_found_at_its_first_commit(
    search_server: OpenSearch, tmp_path: Path
) -> None:
    first = opened(ElasticLocation(search_server.url, "main", tmp_path / "here"), dataset_in(tmp_path / "data"))
    first.commit(posts(2), "one")
    second = ElasticLocation(search_server.url, "main", tmp_path / "there").open()
    second.commit({}, "two")
    with pytest.raises(IndexingError, match="another tmatic-indexer writes to tmatic-main-000001"):
        first.commit(posts(3), "three")
    assert second.mark() == "two"


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing_and_is_waited_for(search_server: OpenSearch, tmp_path: Path) -> None:
    def start_again(seconds: float) -> None:
        if search_server.process is None:
            search_server.start()

    home = ElasticLocation(search_server.url, "main", tmp_path, wait=start_again)
    index = opened(home, dataset_in(tmp_path / "data"))
    index.commit(posts(500), "one")
    search_server.kill()
    with pytest.raises(AwayError):
        home.reader()
    index.commit({**posts(600), "1": None}, "two")
    assert index.count() == 599
    assert index.mark() == "two"


@pytest.mark.slow
def test_whoever_waits_for_a_server_stops_when_told_to_and_can_go_on_later(
    search_server: OpenSearch, tmp_path: Path
) -> None:
    stop = StopSignal()
    home = ElasticLocation(search_server.url, "main", tmp_path, wait=stop.rest)
    index = opened(home, dataset_in(tmp_path / "data"))
    index.commit(posts(5), "one")
    search_server.kill()
    told = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM])
    with listening(stop.hear), pytest.raises(SystemExit):
        told.start()
        try:
            index.commit(posts(6), "two")
        finally:
            told.cancel()
    search_server.start()
    again = ElasticLocation(search_server.url, "main", tmp_path).open()
    assert again.mark() == "one"
    again.commit(posts(6), "two")
    assert again.count() == 6


@pytest.mark.slow
def test_posts_without_their_mark_are_sent_again_and_change_nothing(search_server: OpenSearch, tmp_path: Path) -> None:
    home = ElasticLocation(search_server.url, "main", tmp_path)
    index = opened(home, dataset_in(tmp_path / "data"))
    index.commit(posts(5), "one")
    index.commit(posts(9), None)  # and then its process was killed
    index = home.open()
    assert index.mark() == "one"
    index.commit(posts(9), "two")
    assert index.count() == 9


@pytest.mark.slow
def test_a_rebuild_takes_the_place_of_an_index_in_one_step(search_server: OpenSearch, tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path / "data")
    store(dataset, "12", [line(n, "12", f"rain {n}") for n in range(9, 0, -1)])
    home = ElasticLocation(search_server.url, "main", tmp_path)
    opened(home, dataset).commit(posts(20), None)
    home.begin()  # cut off
    reader = home.reader()
    assert isinstance(reader, ElasticReader)
    rebuilt = rebuild(home, dataset)
    assert (rebuilt.posts, rebuilt.former) == (9, "tmatic-main-000001")
    assert home.present() == "tmatic-main-000003"
    assert rebuilt.index.count() == 9
    assert {post.id: post for post in reader.search(Query(limit=99)).hits} == on_file(dataset)
    home.remove("tmatic-main-000001")


@pytest.mark.slow
def test_an_index_that_is_not_ours_is_refused(search_server: OpenSearch, tmp_path: Path) -> None:
    server = SearchServer(search_server.url, patient=True)
    server.ask("PUT", "/tmatic-main-000001", {"aliases": {"tmatic-main": {}}})
    with pytest.raises(IndexingError, match="not made by this tmatic-indexer"):
        ElasticLocation(search_server.url, "main", tmp_path).open()


@pytest.mark.slow
def test_before_there_is_an_index_it_is_said_how_one_is_made(search_server: OpenSearch, tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match="start tmatic-indexer to make one"):
        ElasticLocation(search_server.url, "main", tmp_path).reader().search(parse("rain"))
