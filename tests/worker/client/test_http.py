"""One request: from its address, within bounds, to one host and no other."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.waiting import until
from tests.worker.scripted import Reply, Scripted, scripted
from worker.client import http
from worker.client.http import Call, HttpAnswer, HttpClient, NoAnswerError, TooLargeError


def send(service: Scripted, timeout_s: float = 5.0, address: str = "", path: str = "/x", **more: str) -> HttpAnswer:
    return HttpClient("twittomatic/test").send(Call("x", service.url + path, more), address, timeout_s)


def test_an_answer_comes_back_whole(service: Scripted) -> None:
    service.answers(Reply(200, b'{"a": 1}', {"x-rate-limit-limit": "15"}))
    answer = send(service, user_id="12")
    assert (answer.status, answer.body, answer.headers["X-Rate-Limit-Limit"]) == (200, b'{"a": 1}', "15")
    assert service.asked[0].params == {"user_id": "12"}
    assert service.asked[0].headers["user-agent"] == "twittomatic/test"


def test_a_connection_is_used_again_and_each_thread_has_its_own(service: Scripted) -> None:
    line = HttpClient("twittomatic/test")
    call = Call("x", service.url, {})

    def thrice() -> None:
        for _ in range(3):
            line.send(call, "", 5.0)

    thrice()
    assert len({question.connection for question in service.asked}) == 1
    thread = threading.Thread(target=thrice)
    thread.start()
    thread.join(10)
    assert len({question.connection for question in service.asked}) == 2


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.9"])
def test_a_request_leaves_from_its_address(service: Scripted, address: str) -> None:
    send(service, address=address)
    assert service.asked[0].address == address


def test_a_body_that_is_cut_is_no_answer(service: Scripted) -> None:
    service.answers(Reply(body=b"[1, 2, 3]", keep=4))
    with pytest.raises(NoAnswerError, match="broke off"):
        send(service)


def test_a_reset_is_no_answer(service: Scripted) -> None:
    service.answers(Reply(body=b"[1, 2, 3]", keep=4, reset=True))
    with pytest.raises(NoAnswerError):
        send(service)


def test_silence_is_no_answer(service: Scripted) -> None:
    service.answers(Reply(wait_s=1.0))
    with pytest.raises(NoAnswerError, match=r"no answer within 0\.2 s"):
        send(service, 0.2)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole answer has hardly more time than each part of it."""
    monkeypatch.setattr(http, "_HEAD_WITHIN", 0.5)
    monkeypatch.setattr(http, "_WHOLE_WITHIN", 0.5)


@pytest.mark.usefixtures("hurried")
def test_a_trickle_is_not_waited_for_without_end(service: Scripted) -> None:
    service.answers(Reply(body=b"x" * 10_000, trickle_s=0.02))
    with pytest.raises(NoAnswerError, match="not whole"):
        send(service, 1.0)


@contextlib.contextmanager
def dripping(head: bytes, drop: bytes, rest_s: float) -> Iterator[str]:
    """A service that says `head` to whoever asks, and then one drop after the other for ever."""

    def drip(line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            line.recv(65_536)
            line.sendall(head)
            while True:
                line.sendall(drop)
                time.sleep(rest_s)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(door.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-A: x\r\n", b"X-B: x\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["a header", "headers", "100 Continue", "the length of a chunk", "the body of a redirect"],
)
@pytest.mark.usefixtures("hurried")
def test_whatever_trickles_is_not_waited_for_without_end(head: bytes, drop: bytes) -> None:
    line = HttpClient("t")
    with dripping(head, drop, 0.02) as url:
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(NoAnswerError, match="not whole") as refused:
                line.send(Call("x", url, {}), "", 1.0)
            assert refused.value.sent
    assert time.monotonic() - began < 10.0


@pytest.mark.usefixtures("hurried")
def test_a_call_that_was_cut_off_does_not_spoil_the_next_one(service: Scripted) -> None:
    service.answers(Reply(body=b"x" * 10_000, trickle_s=0.02), Reply(body=b"[7]"))
    line = HttpClient("t")
    call = Call("x", service.url, {})
    with pytest.raises(NoAnswerError, match="not whole"):
        line.send(call, "", 1.0)
    assert [line.send(call, "", 5.0).body for _ in range(2)] == [b"[7]"] * 2


def test_a_watch_ends_with_the_calls_that_it_watches(service: Scripted) -> None:
    before = threading.active_count()
    send(service)
    until(lambda: threading.active_count() <= before + 1, 10.0)  # the service's own thread for the connection


def test_nobody_there_is_no_answer() -> None:
    with scripted() as gone:
        pass
    with pytest.raises(NoAnswerError, match="no connection: Connection refused"):
        send(gone)


def test_an_answer_without_end_is_not_taken(service: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    service.answers(Reply(body=b"x" * 1001))
    with pytest.raises(TooLargeError):
        send(service)


def test_a_small_answer_that_unpacks_without_end_is_not_taken(
    service: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1 << 20)
    service.answers(Reply(body=gzip.compress(bytes(50 << 20)), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TooLargeError):
        send(service)


def test_a_packed_answer_is_unpacked_and_a_broken_one_is_no_answer(service: Scripted) -> None:
    service.answers(Reply(body=gzip.compress(b"[7]"), headers={"Content-Encoding": "gzip"}))
    assert send(service).body == b"[7]"
    service.answers(Reply(body=zlib.compress(b"[7]"), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(NoAnswerError):
        send(service)


def test_a_redirect_is_not_followed_so_a_token_stays_with_its_host(service: Scripted) -> None:
    with scripted() as elsewhere:
        service.answers(Reply(302, b"", {"Location": elsewhere.url}))
        call = Call("x", service.url, {}, "GET", {"Authorization": "Bearer secret"})
        assert HttpClient("t").send(call, "", 5.0).status == 302
        assert not elsewhere.asked


def test_the_body_of_a_redirect_is_bounded_like_any_other() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dripping(redirect, b"10000\r\n" + bytes(65_536) + b"\r\n", 0.0) as url, pytest.raises(TooLargeError):
        HttpClient("t").send(Call("x", url, {}), "", 5.0)


@pytest.mark.parametrize("place", ["http://\xff\xfe/", "http://[::1", "http://a..b:99999999/\xe9"])
def test_a_redirect_to_a_place_that_cannot_be_read_is_an_answer(place: str) -> None:
    redirect = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 2\r\n\r\n{{}}".encode("latin-1")
    with dripping(redirect, b"", 1.0) as url:
        answer = HttpClient("t").send(Call("x", url, {}), "", 5.0)
    assert (answer.status, answer.body) == (302, b"{}")


def test_nothing_of_the_environment_or_of_earlier_answers_is_sent(
    service: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    line = HttpClient("t")
    service.answers(Reply(headers={"Set-Cookie": "who=me"}))
    for _ in range(2):
        line.send(Call("x", service.url, {}), "", 5.0)
    assert all("cookie" not in question.headers for question in service.asked)


def test_what_a_post_says_goes_into_its_form(service: Scripted) -> None:
    HttpClient("t").send(Call("x", service.url + "/y", {"user_id": "1,2"}, "POST"), "", 5.0)
    assert (service.asked[0].method, service.asked[0].params) == ("POST", {"user_id": "1,2"})
