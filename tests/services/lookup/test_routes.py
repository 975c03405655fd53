"""The lookup over HTTP: what the original answered, what is new, and what nobody can do to it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from services.lookup.consumer import LookupConsumer
from services.lookup.profiles import parsed
from services.lookup.routes import LIMITS, MAX_IDS, routes
from services.lookup.store import Store
from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.services.http.serving import Answer, ask, request, served
from tests.services.lookup.making import at, done_event, profile

JSON = {"Content_Type": "application/json"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e'
NETWORK_ID = "https://social.example/users/a b?c#d%2F"
STORED = {
    "1": profile(1, "Anna", posts=3, name="Anna A.", description="Lives.", followers_count=12_345),
    "2": profile(2, "bella", posts=2),
    "666": profile(666, HOSTILE, name=HOSTILE, description=HOSTILE, location=HOSTILE, url="javascript:alert(3)"),
    NETWORK_ID: profile(NETWORK_ID, "nét@social.example"),
}


class Place:
    """A lookup that answers, and what is behind it."""

    def __init__(self, host: str, port: int, store: Store, consumer: LookupConsumer) -> None:
        self.address = host, port
        self.store = store
        self.consumer = consumer

    def get(self, path: str, **headers: str) -> Answer:
        return ask(*self.address, request("GET", path, None, **headers))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return ask(*self.address, request("POST", path, raw, **(headers or JSON)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("lookup")
    (folder / "data").mkdir()
    store = Store(folder / "lookup.db")
    consumer = LookupConsumer(store, FileDataset(folder / "data"))
    before = [profile(1, "Bella", posts=1), profile(2, "anna", posts=1)]
    first = done_event(1, "u", 2, before)
    consumer.apply([first, done_event(2, "v", len(STORED), list(STORED.values()))], at(2))
    with served(lambda: routes(store, consumer.gauges), LIMITS) as (host, port, _):
        yield Place(host, port, store, consumer)
    store.close()


def test_an_id_is_answered_with_the_profile_byte_by_byte(place: Place) -> None:
    for identifier, body in STORED.items():
        answer = place.get("/lookup/id/" + quote(identifier, safe=""))
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", body)


@pytest.mark.parametrize("path", ["/lookup/id/3", "/lookup/id/%00", "/lookup/id/" + "9" * 256, "/lookup/name/nobody"])
def test_who_is_not_known_is_answered_404_with_null_as_the_original_did(place: Place, path: str) -> None:
    answer = place.get(path)
    assert (answer.status, answer.headers["content-type"], answer.body) == (404, "application/json", b"null")
    assert place.get(path, Accept="text/html").body == b"null"
    assert place.get(path + "?history=1").body == b"null"


def test_a_name_leads_to_who_has_it_now_in_capitals_or_not(place: Place) -> None:
    for name in ("anna", "ANNA"):
        assert place.get(f"/lookup/name/{name}").body == STORED["1"]
    assert place.get("/lookup/name/Bella").body == STORED["2"]
    assert place.get("/lookup/name/" + quote(HOSTILE)).body == STORED["666"]
    assert place.get("/lookup/name/" + quote("nét@social.example")).body == STORED[NETWORK_ID]


def test_the_history_tells_who_had_a_name_and_which_names_an_account_had(place: Place) -> None:
    told = place.get("/lookup/name/ANNA?history=1").document
    assert told["screen_name"] == "ANNA"
    assert [(one["id"], one["screen_name"], one["current"], one["first"]) for one in told["holders"]] == [
        ("2", "anna", False, 1),
        ("1", "Anna", True, 2),
    ]
    told = place.get("/lookup/id/1?history=1").document
    assert told["id"] == "1" and [one["screen_name"] for one in told["names"]] == ["Bella", "Anna"]
    assert place.get("/lookup/id/1?history=yes").status == 400
    assert place.get("/lookup/id/1?history=0").body == STORED["1"]


def test_many_ids_are_answered_at_once(place: Place) -> None:
    answer = place.post("/lookup/ids", ["1", 2, "3", NETWORK_ID, "1"])
    assert answer.status == 200
    known = {"1": STORED["1"], "2": STORED["2"], NETWORK_ID: STORED[NETWORK_ID]}
    assert answer.document == {"3": None} | {key: json.loads(body) for key, body in known.items()}
    assert place.post("/lookup/ids", []).document == {}
    most = [f"{n}" + "\x01" * 250 for n in range(MAX_IDS)]
    assert len(place.post("/lookup/ids", most).document) == MAX_IDS


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b'"1"', b"1", b"[null]", b"[true]", b"[1.5]", b"[[]]", b'[""]', b"[", b'["\\ud800"]',
     orjson.dumps(["x" * 256]), orjson.dumps(list(range(MAX_IDS + 1)))],
)  # fmt: skip
def test_what_is_no_list_of_ids_is_refused_in_words(place: Place, body: bytes) -> None:
    answer = place.post("/lookup/ids", body)
    assert answer.status == 400 and answer.document["error"]


def test_bodies_of_another_type_or_too_large_are_refused(place: Place) -> None:
    assert place.post("/lookup/ids", b"[]", Content_Type="text/plain").status == 415
    assert place.post("/lookup/ids", b"[" + b" " * LIMITS.body_bytes + b"]").status == 413
    assert place.post("/lookup/add", b" " * (LIMITS.body_bytes + 1)).status == 413
    large = orjson.dumps({"id_str": "9", "screen_name": "large", "x": "x" * (300 << 10)})
    assert place.post("/lookup/add", large).status == 413


def test_a_profile_is_added_as_the_original_took_it_and_survives_a_new_start(place: Place) -> None:
    body = b'{ "screen_name" : "added",\n "id_str":"77", "id": 77 }'
    answer = place.post("/lookup/add", body)
    assert (answer.status, answer.body) == (200, b"")
    assert place.get("/lookup/id/77").body == body
    assert place.get("/lookup/name/ADDED").body == body
    assert place.post("/lookup/ids", ["77"]).document == {"77": json.loads(body)}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "text/json", ""])
def test_what_is_not_announced_as_json_is_not_added(place: Place, kind: str) -> None:
    assert place.post("/lookup/add", b'{"id_str":"78","screen_name":"x"}', Content_Type=kind).status == 404
    assert place.get("/lookup/id/78").status == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"id_str":"1"}', b'{"screen_name":"a"}', b'{"id_str":1,"screen_name":"a"}',
             b'{"id_str":"","screen_name":"a"}', b'{"id_str":"1","screen_name":null}', b'{"id_str":"1","screen_name"',
             orjson.dumps({"id_str": "x" * 256, "screen_name": "a"})],
)  # fmt: skip
def test_what_is_no_profile_is_not_added(place: Place, body: bytes) -> None:
    answer = place.post("/lookup/add", body)
    assert answer.status == 400 and answer.document["error"]


def test_who_adds_while_all_is_made_anew_is_told_to_come_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.lookup.routes._ADD_WAITS_S", 0.05)
    with place.store.writing():
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(place.post("/lookup/add", profile(90)))) for _ in range(15)
        ]
        for thread in threads:
            thread.start()
        assert place.get("/lookup/id/1").body == STORED["1"]
        for thread in threads:
            thread.join()
    assert {one.status for one in answers} == {503} and answers[0].headers["retry-after"] == "60"


@pytest.mark.parametrize(
    "path", ["/../routes.py", "/style.css/../../store.py", "/%2e%2e/store.py", "//etc/passwd", "/store.py", "/lookup/"]
)
def test_nothing_but_its_own_files_is_served(place: Place, path: str) -> None:
    assert place.get(path).status == 404


def test_the_page_s_own_files_are_served(place: Place) -> None:
    assert place.get("/style.css").headers["content-type"].startswith("text/css")
    assert place.get("/icon.svg").headers["content-type"] == "image/svg+xml"


class Tags(HTMLParser):
    """Which tags and attributes a page has, and whether what was opened is closed."""

    VOID = frozenset({"meta", "link", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "asked", ["", "666", HOSTILE, "1", "anna", "@anna", "nobody", "<script>", "9" * 300, "\x00", " "]
)
def test_no_name_and_no_question_injects_anything_into_the_page(place: Place, asked: str) -> None:
    answer = place.get("/?q=" + quote(asked))
    assert answer.status == 200
    tags = Tags()
    tags.feed(answer.body.decode())
    tags.close()
    assert not tags.open
    assert not tags.tags & {"script", "iframe", "style", "svg", "object"}
    assert not {name for name in tags.attributes if name.startswith("on")} | (tags.attributes & {"style"})
    assert not re.search(rb"(href|src)=.?javascript:", answer.body)


def test_the_page_shows_what_is_known_of_an_account_and_of_its_names(place: Place) -> None:
    text = place.get("/?q=%40ANNA").body.decode()
    for words in ("Anna A.", "Lives.", "12,345", "Names it had", "Bella", "Others who had this name"):
        assert words in text
    assert "Nobody here goes by that id or name" in place.get("/?q=nobody").body.decode()


def test_the_page_tells_how_far_the_lookup_has_come(place: Place) -> None:
    assert "No master was heard" in place.get("/").body.decode()
    place.consumer.hear("stats.gauges", {"crawl": "<main>", "log": {"head": 1_234}})
    text = place.get("/").body.decode()
    assert "Event 2 of 1,234: 1,232 to go." in text and "crawl <bdi>&lt;main&gt;</bdi>" in text
    place.consumer.hear("stats.gauges", {"crawl": 5, "log": {"head": "x"}})
    assert "No master was heard" in place.get("/").body.decode()


def test_the_description_for_machines_names_every_route(place: Place) -> None:
    document = place.get("/openapi.json").document
    assert set(document["paths"]) == {
        "/", "/lookup/id/{id}", "/lookup/name/{screen_name}", "/lookup/ids", "/lookup/add", "/openapi.json",
    }  # fmt: skip
    assert document["paths"]["/lookup/ids"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "maxItems"
    ] == MAX_IDS  # fmt: skip


@pytest.mark.parametrize("where", ["last_status_at", "created_at", "status"])
def test_a_time_beyond_the_calendar_is_shown_as_its_end(place: Place, where: str) -> None:
    beyond = "9999-12-31T23:59:59-23:59"
    said: dict[str, Any] = {where: beyond if where != "status" else {"created_at": beyond}}
    added = orjson.loads(profile(777_001, f"late_{where}")) | said
    assert place.post("/lookup/add", added).status == 200
    for asked in ("777001", f"late_{where}"):
        answer = place.get(f"/?q={asked}")
        assert answer.status == 200 and b"9999-12-31" in answer.body


def test_times_beyond_the_calendar_that_are_on_file_already_are_shown_too(place: Place) -> None:
    body = profile(777_002, "oldest_file")
    with place.store.writing() as writing:
        for name in ("oldest_file", "older_name"):
            writing.add(replace(parsed(body), name=name, posted=2**62))
    answer = place.get("/?q=777002")
    assert answer.status == 200 and b"9999-12-31" in answer.body
    assert place.get("/?q=older_name").status == 200


def test_a_profile_that_is_nested_too_deeply_to_be_indented_is_shown_as_it_came(place: Place) -> None:
    body = b'{"id_str":"777003","screen_name":"deep","x":' + b"[" * 600 + b"]" * 600 + b"}"
    assert place.post("/lookup/add", body).status == 200
    answer = place.get("/?q=777003")
    assert answer.status == 200 and b"[" * 600 in answer.body


PATHS = st.sampled_from(["/", "/lookup/id/", "/lookup/name/", "/lookup/ids", "/lookup/add", "/openapi.json", "/lookup"])
PIECES = st.text(max_size=6).map(quote) | st.sampled_from(["1", "anna", "%ff", "%00", "/", "..", "%2e%2e%2f", "?", "&"])
QUERIES = st.sampled_from(["", "?history=1", "?history=%ff", "?q=", "?q=1&q=2", "?history", "?=&;"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id_str", "screen_name", "x"]), inner),
    max_leaves=4,
)
BODIES = st.none() | st.binary(max_size=20) | DOCUMENTS
KINDS = st.sampled_from(["application/json", "application/json;charset=x", "text/plain", "multipart/form-data", "é"])
METHODS = st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "PATCH", "TRACE"])
STATUSES = {200, 400, 404, 405, 413, 415}


REQUESTS = {
    "method": METHODS,
    "path": PATHS,
    "more": st.lists(PIECES, max_size=3),
    "query": QUERIES,
    "body": BODIES,
    "kind": KINDS,
}
ROUGH = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def hammered(place: Place, method: str, path: str, more: list[str], query: str, body: Any, kind: str) -> None:
    try:
        raw = body if isinstance(body, bytes | None) else orjson.dumps(body)
    except TypeError:  # half a surrogate pair
        return
    if method in ("GET", "HEAD"):
        raw = None
    sent = request(method, path + "".join(more) + query, raw, Content_Type=kind)
    assert ask(*place.address, sent, head_only=method == "HEAD").status in STATUSES


@pytest.mark.slow
@settings(ROUGH, max_examples=250)
@given(**REQUESTS)
def test_no_request_causes_an_error(place: Place, caplog: pytest.LogCaptureFixture, **asked: Any) -> None:
    hammered(place, **asked)
    assert not [told for told in caplog.records if told.exc_info]


@pytest.mark.soak
@pytest.mark.timeout(900)
@settings(ROUGH, max_examples=10_000)
@given(**REQUESTS)
def test_no_request_of_ten_thousand_causes_an_error(
    place: Place, caplog: pytest.LogCaptureFixture, **asked: Any
) -> None:
    hammered(place, **asked)
    assert not [told for told in caplog.records if told.exc_info]


def test_the_files_beside_the_code_are_there() -> None:
    folder = ROOT / "services" / "lookup"
    assert all((folder / name).is_file() for name in ("style.css", "icon.svg", "openapi.json"))
