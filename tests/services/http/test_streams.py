"""Server-sent events: told from a thread, to many, to those who keep up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from services.http import Streams
from services.http.streams import encoded
from tests.services.http.applications import Trial
from tests.services.http.serving import PATIENCE_S, ask, connected, ended, request, served
from tests.waiting import until


def listening(host: str, port: int) -> tuple[socket.socket, Callable[[bytes], bytes]]:
    """An open stream, and a function that reads on until something has come."""
    connection = connected(host, port)
    connection.sendall(request("GET", "/events"))
    came = bytearray()

    def read_until(what: bytes) -> bytes:
        while what not in came:
            piece = connection.recv(65536)
            assert piece, bytes(came)
            came.extend(piece)
        so_far = bytes(came)
        del came[:-256]
        return so_far

    return connection, read_until


def test_a_stream_tells_the_first_events_and_then_what_is_published_from_any_thread() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _):
        connection, read_until = listening(host, port)
        head = read_until(b"data: line two\n\n")
        assert b"content-type: text/event-stream" in head.lower() and b"event: hello\ndata: line one\n" in head
        for n in range(3):
            threading.Thread(target=trial.streams.publish, args=("n", str(n))).start()
            read_until(b"event: n\ndata: %d\n\n" % n)
        connection.close()


def test_an_event_cannot_be_forged_by_what_it_tells() -> None:
    assert encoded("a\nb", "x\r\ny\rz\n\nevent: forged") == (
        b"event: ab\ndata: x\ndata: y\ndata: z\ndata: \ndata: event: forged\n\n"
    )


def test_more_streams_than_there_may_be_are_refused_in_words() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _):
        streams = [listening(host, port) for _ in range(3)]
        for _, read_until in streams:
            read_until(b"line two")
        answer = ask(host, port, request("GET", "/events"))
        assert answer.status == 503 and "event streams" in answer.document["error"]
        streams[0][0].close()
        until(lambda: len(trial.streams) < 3, PATIENCE_S)
        for connection, _ in streams[1:]:
            connection.close()


def test_a_client_that_went_away_is_found_out_by_the_comments() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _):
        connection, read_until = listening(host, port)
        read_until(b"\n:\n")
        assert len(trial.streams) == 1
        connection.close()
        until(lambda: not len(trial.streams), PATIENCE_S)


def test_who_cannot_keep_up_is_cut_and_the_others_get_everything() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _):
        stuck, stuck_reads = listening(host, port)
        quick, read_until = listening(host, port)
        stuck_reads(b"line two")
        read_until(b"line two")
        for n in range(200):
            trial.streams.publish("n", "x" * 100_000 + f" {n}")
            read_until(b"x %d\n" % n)
        until(lambda: len(trial.streams) == 1, PATIENCE_S)
        assert ended(stuck)
        stuck.close()
        quick.close()


def test_streams_end_when_they_are_told_to() -> None:
    trial = Trial()
    with served(trial.app) as (host, port, _):
        connection, read_until = listening(host, port)
        read_until(b"line two")
        trial.streams.publish("last", "words")
        trial.streams.end()
        read_until(b"event: last\ndata: words\n\n")
        read_until(b"0\r\n\r\n")
        connection.close()
        until(lambda: not len(trial.streams), PATIENCE_S)


@pytest.mark.slow
def test_hundreds_of_streams_are_open_and_each_gets_each_event() -> None:
    trial = Trial(streams=Streams(most=400))
    with served(trial.app) as (host, port, _):
        streams = [listening(host, port) for _ in range(300)]
        for _, read_until in streams:
            read_until(b"line two")
        assert ask(host, port, request("GET", "/")).status == 200
        for n in range(5):
            trial.streams.publish("n", str(n))
        for connection, read_until in streams:
            for n in range(5):
                read_until(b"event: n\ndata: %d\n\n" % n)
            connection.close()
