"""What a client cannot take: too much, too slowly, too many. The others are answered meanwhile."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from services.http import Limits
from tests.services.http.applications import Trial
from tests.services.http.serving import ask, connected, ended, read_answer, request, served

pytestmark = pytest.mark.slow

SMALL = Limits(connections=40, head_bytes=4096, body_bytes=1000)
SHORT = Limits(body_bytes=1000, idle_s=0.4, head_s=0.4, body_s=0.4, write_s=0.4)
JSON = {"Content_Type": "application/json"}


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, int]]:
    with served(Trial().app, SMALL) as (host, port, _):
        yield host, port


@pytest.fixture(scope="module")
def hasty() -> Iterator[tuple[str, int]]:
    with served(Trial().app, SHORT) as (host, port, _):
        yield host, port


def test_a_body_beyond_the_limit_is_refused_and_the_client_sees_the_answer(place: tuple[str, int]) -> None:
    answer = ask(*place, request("POST", "/echo", b"[" + b" " * 500_000 + b"]", **JSON))
    assert answer.status == 413 and "1,000 bytes" in answer.document["error"]
    assert ask(*place, request("POST", "/echo", b"[" + b" " * 998 + b"]", **JSON)).status == 200


def test_a_body_in_chunks_has_the_same_limit(place: tuple[str, int]) -> None:
    head = request("POST", "/echo", None, Transfer_Encoding="chunked", **JSON)
    assert ask(*place, head + b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n").document == [1, 2]
    assert ask(*place, head + b"400\r\n" + b" " * 1024 + b"\r\n0\r\n\r\n").status == 413
    assert ask(*place, head + b"zz\r\n").status == 400


def test_a_declared_length_beyond_all_reason_is_refused_at_once(place: tuple[str, int]) -> None:
    with connected(*place) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n")
        assert read_answer(connection).status == 413
        assert ended(connection)


def test_headers_beyond_the_limit_are_refused(place: tuple[str, int]) -> None:
    many = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + b"\r\n"
    assert ask(*place, many).status == 431
    assert ask(*place, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 5000 + b"\r\n\r\n").status == 431
    assert ask(*place, b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 414


@pytest.mark.parametrize(
    "begun",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y"],
)
def test_a_head_that_does_not_end_is_cut(hasty: tuple[str, int], begun: bytes) -> None:
    with connected(*hasty) as connection:
        connection.sendall(begun)
        assert read_answer(connection).status == 408
        assert ended(connection)


def test_a_body_that_does_not_end_is_cut(hasty: tuple[str, int]) -> None:
    with connected(*hasty) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[")
        assert read_answer(connection).status == 408
        assert ended(connection)


def test_a_body_that_breaks_off_is_no_failure_of_ours(place: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with connected(*place) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[")
        connection.shutdown(socket.SHUT_WR)
        assert read_answer(connection).status == 400
    assert not [told for told in caplog.records if told.exc_info]


def test_an_idle_connection_is_ended(hasty: tuple[str, int]) -> None:
    with connected(*hasty) as connection:
        connection.sendall(request("GET", "/"))
        assert read_answer(connection).status == 200
        assert ended(connection)


def test_a_client_that_does_not_read_is_cut(hasty: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with connected(*hasty) as connection:
        connection.sendall(request("GET", "/large"))
        assert ask(*hasty, request("GET", "/")).status == 200
        watcher = connected(*hasty)  # by when it has been idle for longer than the other may take to read
        assert ended(watcher)
        watcher.close()
        with contextlib.suppress(ConnectionError):
            total = 0
            while piece := connection.recv(1 << 20):
                total += len(piece)
            assert total < 4096 << 16
    assert not [told for told in caplog.records if told.exc_info]


def test_slow_clients_by_the_dozen_do_not_keep_others_waiting(place: tuple[str, int]) -> None:
    slow = [connected(*place) for _ in range(SMALL.connections - 2)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\n")
        assert ask(*place, request("GET", "/")).status == 200
    finally:
        for connection in slow:
            connection.close()


def test_more_connections_than_there_may_be_wait_and_are_answered_in_their_turn() -> None:
    with served(Trial().app, Limits(connections=10, idle_s=0.2)) as (host, port, _):
        open_ones = [connected(host, port) for _ in range(30)]
        assert ask(host, port, request("GET", "/")).status == 200
        for connection in open_ones:
            connection.close()


def test_a_slow_question_does_not_keep_others_waiting() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _), connected(host, port) as slow:
        slow.sendall(request("GET", "/waits"))
        assert trial.inside.acquire(timeout=10)
        assert ask(host, port, request("GET", "/")).status == 200
        trial.gate.set()
        assert read_answer(slow).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/x.y\r\nHost: localhost\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n: no name\r\n\r\n",
        b"GET /%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n1",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS\n\r\n\r\n",
    ],
)
def test_what_is_not_one_request_in_one_way_of_reading_is_refused(
    place: tuple[str, int], raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(*place) as connection:
        connection.sendall(raw)
        answer = read_answer(connection)
        assert answer.status in (400, 501) and answer.document["error"]
        assert ended(connection)
    assert len(caplog.records) == 1 and not caplog.records[0].exc_info


WORDS = st.sampled_from(
    [b"GET ", b"POST ", b"HEAD ", b"/", b"/echo", b"/%00%ff", b"?a=%zz", b" HTTP/1.1\r\n", b"\r\n", b"\n", b"\r\n\r\n",
     b"Host: localhost\r\n", b"Content-Length: 3\r\n", b"Content-Type: application/json\r\n", b"Upgrade: websocket\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: upgrade\r\n", b"Cookie: \xff=;\r\n",
     b" folded\r\n", b":\r\n", b"\x00", b"\xff\xfe", b"3\r\n[1]\r\n0\r\n\r\n", b"[1]", b"Status: 500\r\n"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(WORDS | st.binary(max_size=8), max_size=14))
def test_no_bytes_cause_an_error_of_ours(
    place: tuple[str, int], pieces: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    with connected(*place) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"".join(pieces))
        connection.shutdown(socket.SHUT_WR)
        came = b""
        while piece := connection.recv(65536):
            came += piece
        assert not re.search(rb"HTTP/1\.1 500", came)
    assert not [told for told in caplog.records if told.exc_info]
