"""What a stream of events says, and to how many."""

from __future__ import annotations

import http.client
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from services.monitor.feed import Feed
from services.monitor.store import MonitorStore
from services.monitor.stream import MAX_STREAMS, PageStreams, event as stream_event
from services.subscriber.consumer import Event
from tests.services.monitor import synthetic
from tests.services.monitor.running import Running, running
from tests.waiting import until

WAIT_S = 60.0


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("output")) as served:
        served.feed.apply(synthetic.events(), synthetic.POSITION)
        served.feed.hear("stats.gauges", synthetic.document(20))
        for line in synthetic.lines(50):
            served.feed.hear("log.master", line)
        yield served


class Heard:
    """An event stream, read as it comes."""

    def __init__(self, monitor: Running, *, after: str = "", in_gzip: bool = False) -> None:
        place = urlsplit(monitor.url)
        self.connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
        headers = {"Accept": "text/event-stream"} | ({"Accept-Encoding": "gzip"} if in_gzip else {})
        if after:
            headers["Last-Event-ID"] = after
        self.connection.request("GET", "/api/stream", headers=headers)
        self.answer = self.connection.getresponse()
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if in_gzip else None
        self._rest = b""

    def event(self) -> tuple[str, str, Any]:
        """The next event: its name, its id, its data."""
        while b"\n\n" not in self._rest:
            piece = self.answer.read1(65_536)
            assert piece, "the stream ended"
            self._rest += self._inflate.decompress(piece) if self._inflate else piece
        block, self._rest = self._rest.split(b"\n\n", 1)
        said = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        if "event" not in said:
            return self.event()
        return said["event"], said.get("id", ""), json.loads(said["data"])

    def until(self, name: str) -> tuple[str, Any]:
        """The id and the data of the next event of this name."""
        while True:
            found, identifier, data = self.event()
            if found == name:
                return identifier, data

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("in_gzip", [False, True])
def test_a_stream_begins_with_all_that_a_page_needs(monitor: Running, in_gzip: bool) -> None:
    heard = Heard(monitor, in_gzip=in_gzip)
    assert heard.answer.status == 200
    assert (heard.answer.getheader("Content-Encoding") == "gzip") is in_gzip
    names = [heard.event()[0] for _ in range(5)]
    assert names == ["hello", "overview", "workers", "lines", "failures"]
    assert heard.event()[0] == "beat"
    monitor.feed.hear("stats.gauges", synthetic.document(20, 5))
    assert heard.until("overview")[1]["crawl"] == "autumn"
    heard.close()


def test_a_page_that_comes_back_gets_only_the_lines_it_missed(monitor: Running) -> None:
    heard = Heard(monitor)
    identifier, lines = heard.until("lines")
    heard.close()
    monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "a new line", "fields": {}})
    again = Heard(monitor, after=identifier)
    _, missed = again.until("lines")
    again.close()
    assert [line[3] for line in missed] == ["a new line"]
    assert len(lines) > 1


def test_after_a_restart_of_the_monitor_a_page_gets_all_lines(monitor: Running) -> None:
    heard = Heard(monitor, after="0-999999")
    _, lines = heard.until("lines")
    heard.close()
    assert lines[0][0] == 1


@pytest.mark.slow
def test_streams_are_bounded_and_closed_ones_make_room(tmp_path: Path) -> None:
    with running(tmp_path) as served:
        heard = [Heard(served) for _ in range(MAX_STREAMS)]
        assert all(one.answer.status == 200 for one in heard)
        until(lambda: served.streams.open == MAX_STREAMS, WAIT_S)
        refused = requests.get(f"{served.url}/api/stream", timeout=WAIT_S)
        assert refused.status_code == 503
        assert requests.get(f"{served.url}/api/about", timeout=WAIT_S).status_code == 200
        for one in heard:
            one.close()
        until(lambda: served.streams.open == 0, WAIT_S)


@pytest.mark.slow
def test_a_stream_has_the_failures_that_a_page_shows_and_makes_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def event(name: str, data: Any, identifier: str = "") -> bytes:
        made.append(name)
        return stream_event(name, data, identifier)

    monkeypatch.setattr("services.monitor.stream.event", event)
    with running(tmp_path) as served:
        failed = [Event(number, "job.failed", ["F", str(number), 1, "no", "w"]) for number in range(1, 101)]
        served.feed.apply(failed, synthetic.POSITION)
        heard = [Heard(served, in_gzip=number > 1) for number in range(4)]
        for one in heard:
            told = one.until("failures")[1]
            assert told["count"] == 100
            assert [failure["sequence"] for failure in told["latest"]] == list(range(100, 40, -1))
            one.close()
    assert made.count("failures") == 1


@pytest.mark.slow
def test_a_long_log_comes_in_pieces() -> None:
    feed = Feed(MonitorStore(None), 5_000)
    for line in synthetic.lines(4_500):
        feed.hear("log.master", line)
    streams = PageStreams(feed, lambda _: None)
    pieces = [piece for _, piece in zip(range(5), streams.stream("", in_gzip=False), strict=False)]
    assert [piece.count(b"event: lines") for piece in pieces] == [0, 0, 1, 1, 1]
