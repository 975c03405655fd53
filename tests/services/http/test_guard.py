"""Who may ask what of a service, what every answer has, and how failures are told."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from protocol.errors import TmaticError, UsageError
from services.http import Server
from services.http.guard import HEADERS
from tests.services.http.applications import Trial
from tests.services.http.serving import Answer, ask, connected, read_answer, request, served

JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, int]]:
    with served(Trial().app, allowed=["lookup.example.org"]) as (host, port, _):
        yield host, port


def test_every_answer_has_the_headers_that_keep_a_browser_safe(place: tuple[str, int]) -> None:
    for path in ("/", "/nowhere", "/raises"):
        answer = ask(*place, request("GET", path))
        assert {name: answer.headers[name.lower()] for name, _ in HEADERS} == dict(HEADERS)
    assert "default-src 'self'" in dict(HEADERS)["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in dict(HEADERS)["Content-Security-Policy"]
    refused = ask(*place, b"NONSENSE\r\n\r\n")
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_an_application_may_set_a_policy_of_its_own(place: tuple[str, int]) -> None:
    assert ask(*place, request("GET", "/own")).headers["content-security-policy"] == "default-src 'none'"


OURS = ["127.0.0.1", "127.0.0.1:99", "localhost", "LOCALHOST:1", "[::1]:5", "[::1]", "lookup.example.org"]
STRANGE = ["evil.example", "127.0.0.1:99999", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::1", "a b", ","]
BRACKETS = ["[127.0.0.1]", "[127.0.0.1]:80", "[localhost]:80", "[::1%1]:80", "[::1]80", "[]", "[lookup.example.org]:80"]


@pytest.mark.parametrize("name", OURS)
def test_a_host_that_is_ours_is_answered(place: tuple[str, int], name: str) -> None:
    assert ask(*place, request("GET", "/", host=name)).status == 200


@pytest.mark.parametrize("name", STRANGE + BRACKETS)
def test_a_host_that_is_not_ours_is_refused(place: tuple[str, int], name: str) -> None:
    assert ask(*place, request("GET", "/", host=name)).status == 403


@pytest.mark.parametrize("name", ["If_None_Match", "Accept", "Origin", "Referer", "Content_Type", "X_Other"])
def test_a_header_that_is_no_text_is_refused(place: tuple[str, int], name: str) -> None:
    answer = ask(*place, request("GET", "/", None, **{name: "\xff"}))
    assert (answer.status, answer.document) == (400, {"error": "a header is not UTF-8"})
    assert ask(*place, request("GET", "/", None, **{name: "\xc3\xa9"})).status == 200


def test_the_cookies_of_other_programs_may_hold_any_bytes(place: tuple[str, int]) -> None:
    assert ask(*place, request("GET", "/", Cookie="x=\xff")).status == 200


def test_what_stands_in_the_body_of_a_refused_request_is_no_request(place: tuple[str, int]) -> None:
    with connected(*place) as connection:
        connection.sendall(request("POST", "/echo", request("GET", "/"), host="evil.example", **JSON))
        came = read_all(connection)
    assert came.count(b"HTTP/1.1 ") == 1 and came.startswith(b"HTTP/1.1 403")


def test_who_listens_everywhere_is_reached_by_any_address_but_by_no_strange_name() -> None:
    with served(Trial().app, host="0.0.0.0", insecure=True) as (_, port, _):
        assert ask("127.0.0.1", port, request("GET", "/", host="192.0.2.7:80")).status == 200
        assert ask("127.0.0.1", port, request("GET", "/", host="evil.example")).status == 403


def test_beyond_this_machine_it_listens_only_for_who_says_so() -> None:
    with pytest.raises(UsageError, match="--insecure"):
        Server(Trial().app(), host="0.0.0.0")


def test_a_port_in_use_and_a_strange_address_are_refused_in_words(place: tuple[str, int]) -> None:
    with pytest.raises(TmaticError, match="in use"), served(Trial().app, port=place[1]):
        pass
    with pytest.raises(UsageError, match="no address"), served(Trial().app, host="nowhere.invalid", insecure=True):
        pass


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://[x"}],
)
def test_a_page_of_another_site_changes_nothing(place: tuple[str, int], headers: dict[str, str]) -> None:
    assert ask(*place, request("POST", "/echo", b"[]", **JSON, **headers)).status == 403
    assert ask(*place, request("GET", "/", None, **headers)).status == 200


def test_a_page_of_ours_and_a_program_may_change_things(place: tuple[str, int]) -> None:
    host = f"127.0.0.1:{place[1]}"
    own = request("POST", "/echo", b"[1]", host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin", **JSON)
    assert ask(*place, own).document == [1]
    assert ask(*place, request("POST", "/echo", b"[2]", **JSON)).document == [2]


def test_an_error_is_json_for_programs_and_a_page_for_browsers(place: tuple[str, int]) -> None:
    program = ask(*place, request("GET", "/<nowhere>"))
    assert (program.status, program.headers["content-type"]) == (404, "application/json")
    assert "nothing here" in program.document["error"]
    browser = ask(*place, request("GET", "/<nowhere>", Accept="text/html,*/*"))
    assert (browser.status, browser.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"404 Not Found" in browser.body and b"<nowhere>" not in browser.body


def test_another_method_is_answered_405_with_those_that_are_possible(place: tuple[str, int]) -> None:
    answer = ask(*place, request("DELETE", "/echo"))
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert "POST" in answer.document["error"]


def test_head_is_get_without_the_body(place: tuple[str, int]) -> None:
    whole = ask(*place, request("GET", "/"))
    with connected(*place) as connection:
        connection.sendall(request("HEAD", "/") + request("HEAD", "/nowhere") + request("GET", "/"))
        heads = [read_answer(connection, head_only=True) for _ in range(2)]
        last = read_answer(connection)
    assert [one.status for one in heads] == [200, 404]
    assert heads[0].headers["content-length"] == whole.headers["content-length"]
    assert last.document == {"all": "well"}


def test_an_unexpected_error_is_one_line_with_its_traceback_and_tells_the_client_nothing(
    place: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(*place, request("GET", "/raises"))
    assert answer.status == 500 and b"5ecret" not in answer.body
    (told,) = caplog.records
    assert told.levelno == logging.ERROR and told.exc_info and "5ecret" in str(told.exc_info[1])


def test_an_error_in_the_middle_of_an_answer_ends_the_connection_and_is_told_once(
    place: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with connected(*place) as connection:
        connection.sendall(request("GET", "/breaks"))
        assert b"first" in read_all(connection)
    (told,) = caplog.records
    assert told.exc_info and "in the middle" in str(told.exc_info[1])


def test_an_answered_request_is_not_logged(place: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ask(*place, request("GET", "/"))
        ask(*place, request("GET", "/nowhere"))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"[]", {}, 415),
        (b"[]", {"Content_Type": "text/plain"}, 415),
        (b"[]", {"Content_Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_a_body_that_is_not_json_is_refused_in_words(
    place: tuple[str, int], body: bytes, headers: dict[str, str], status: int
) -> None:
    answer: Answer = ask(*place, request("POST", "/echo", body, **headers))
    assert answer.status == status
    assert status == 200 or answer.document["error"]


def read_all(connection: object) -> bytes:
    pieces = []
    while piece := connection.recv(65536):  # type: ignore[attr-defined]
        pieces.append(piece)
    return b"".join(pieces)
