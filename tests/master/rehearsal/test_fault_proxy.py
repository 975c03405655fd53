"""Links that can be cut: bytes stop, nothing closes, and everything arrives when they are mended."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from master.rehearsal.fault_proxy import FaultProxies
from master.rehearsal.rehearsal import by_way_of, can_be_cut, place_of_server

SOON_S = 10.0
SILENCE_S = 0.3


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """A server on some port, which says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(one: socket.socket) -> None:
            with one:
                while data := one.recv(4096):
                    one.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def links() -> Iterator[FaultProxies]:
    laid = FaultProxies()
    yield laid
    laid.close()


def calls(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SOON_S)


def is_silent(one: socket.socket) -> bool:
    one.settimeout(SILENCE_S)
    try:
        one.recv(1)
    except TimeoutError:
        return True
    finally:
        one.settimeout(SOON_S)
    return False


def test_a_cut_stalls_and_a_mended_link_brings_what_was_on_the_way(links: FaultProxies) -> None:
    with echo() as far, calls(links.port("one", lambda: ("127.0.0.1", far))) as near:
        near.sendall(b"before")
        assert near.recv(6, socket.MSG_WAITALL) == b"before"
        links.cut("one")
        near.sendall(b"during")
        assert is_silent(near)
        links.mend("one")
        assert near.recv(6, socket.MSG_WAITALL) == b"during"


def test_a_call_through_a_cut_link_is_neither_answered_nor_refused(links: FaultProxies) -> None:
    with echo() as far:
        port = links.port("one", lambda: ("127.0.0.1", far))
        links.cut("one")
        with calls(port) as near:
            near.sendall(b"hello")
            assert is_silent(near)
            links.mend("one")
            assert near.recv(5, socket.MSG_WAITALL) == b"hello"


def test_a_link_that_was_cut_twice_is_mended_twice(links: FaultProxies) -> None:
    with echo() as far, calls(links.port("one", lambda: ("127.0.0.1", far))) as near:
        links.cut("one")
        links.cut("one")
        near.sendall(b"x")
        links.mend("one")
        assert is_silent(near)
        links.mend("one")
        assert near.recv(1) == b"x"


def test_one_link_is_cut_and_another_is_not(links: FaultProxies) -> None:
    with echo() as far:
        path = links.path("one", lambda: ("127.0.0.1", far))
        links.port("other", lambda: ("127.0.0.1", far))
        links.cut("other")
        with socket.socket(socket.AF_UNIX) as near:
            near.settimeout(SOON_S)
            near.connect(path)
            near.sendall(b"through")
            assert near.recv(7, socket.MSG_WAITALL) == b"through"


def test_who_calls_somebody_that_is_away_is_hung_up_on(links: FaultProxies) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with calls(links.port("one", lambda: ("127.0.0.1", port))) as near:
            assert near.recv(1) == b""


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("redis://127.0.0.1:6379", "unix:///r"),
        ("redis://127.0.0.1:6379/3", "unix:///r?db=3"),
        ("redis://me:secret@127.0.0.1:6379/3", "unix://me:secret@/r?db=3"),
        ("unix:///var/run/redis.sock?db=2", "unix:///r?db=2"),
    ],
)
def test_a_server_is_the_same_by_way_of_a_link(url: str, way: str) -> None:
    assert can_be_cut(url)
    assert by_way_of(url, "/r") == way


def test_where_a_server_listens_is_read_from_its_url() -> None:
    assert place_of_server("redis://:x@10.0.0.5/1") == ("10.0.0.5", 6379)
    assert place_of_server("unix:///tmp/a%20b.sock") == "/tmp/a b.sock"
    assert not can_be_cut("rediss://10.0.0.5") and not can_be_cut("sentinel://a:1/main")
