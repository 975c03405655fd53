"""How carbon is spoken to, and what becomes of points when it is slow, deaf or gone."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from services.stats.carbon import delivery as delivering
from services.stats.carbon.connection import MAX_POINTS, Address, CarbonLostError, Link, pickled
from services.stats.carbon.delivery import Batch, Delivery, Settling
from services.stats.carbon.live import LiveDelivery
from services.stats.counts import EventCounts
from services.stats.recording.points import Point, point
from services.stats.recording.recording import Recording
from tests.waiting import until

POINTS = st.builds(
    Point,
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    st.integers(-(10**12), 10**12).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(0, (1 << 40) - 1),
)


@given(st.lists(POINTS, max_size=20))
def test_pickles_are_what_pickle_reads(points: list[Point]) -> None:
    said = pickled(points)
    assert struct.unpack(">I", said[:4])[0] == len(said) - 4
    assert pickle.loads(said[4:]) == [(p.name, (float(p.at), float(p.value))) for p in points]  # noqa: S301


def test_the_largest_message_is_one_that_carbon_takes() -> None:
    largest = Point("x" * 1000, "1", 1)
    assert len(pickled([largest] * MAX_POINTS)) < 1 << 20


class Ear:
    """Listens like a carbon, and keeps what it hears; `deaf` it reads nothing."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._server.getsockname()[1])
        self.heard: list[bytes] = []
        """What came over each connection."""
        self.deaf = threading.Event()
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.heard.append(b"")
            threading.Thread(target=self._hear, args=(connection, len(self.heard) - 1), daemon=True).start()

    def _hear(self, connection: socket.socket, number: int) -> None:
        with connection:
            while not self.deaf.is_set():
                try:
                    data = connection.recv(65_536)
                except OSError:
                    return
                if not data:
                    return
                self.heard[number] += data
            threading.Event().wait(30)

    def hang_up(self) -> None:
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()

    def points(self) -> list[list[str]]:
        """The names that came over each connection, in order."""
        return [[line.split()[0].decode() for line in heard.splitlines()] for heard in self.heard]


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.close()


class Row:
    """A feed of numbered points, one a batch."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.closed = True

    def read(self, place: int) -> Batch | None:
        return Batch([Point(f"p{place}", "1", place)], place + 1) if place < self.length else None

    def ended(self, place: int) -> bool:
        return self.closed and place >= self.length


def names(numbers: Sequence[int] | range) -> list[str]:
    return [f"p{number}" for number in numbers]


def test_a_feed_is_sent_in_order_and_settled_when_carbon_has_read_it(ear: Ear) -> None:
    settled: list[int] = []
    Delivery(Row(1_000), ear.address, 0, settled.append).run()
    assert ear.points() == [names(range(1_000))]
    assert settled[-1] == 1_000


def test_after_a_lost_connection_everything_that_is_not_settled_comes_again(ear: Ear) -> None:
    row = Row(10)
    row.closed = False
    delivery = Delivery(row, ear.address, 0, lambda place: None)
    thread = threading.Thread(target=delivery.run, daemon=True)
    thread.start()
    until(lambda: ear.points() == [names(range(10))], 10)
    ear.hang_up()
    row.length = 12
    delivery.wake()
    until(lambda: len(ear.points()) == 2 and len(ear.points()[1]) == 12, 10)
    row.closed = True
    delivery.stop(5)
    thread.join()
    assert ear.points()[1] == names(range(12))


@pytest.mark.slow
def test_what_is_settled_does_not_come_again(ear: Ear) -> None:
    row, settled = Row(5), list[int]()
    row.closed = False
    delivery = Delivery(row, ear.address, 0, settled.append, settle_s=0.0)
    thread = threading.Thread(target=delivery.run, daemon=True)
    thread.start()
    until(lambda: settled[-1:] == [5], 10)
    ear.hang_up()
    row.length = 7
    until(lambda: len(ear.heard) == 2 and ear.points()[1] == names([5, 6]), 10)
    delivery.stop(5)
    thread.join()


@given(
    steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 1_000), st.integers(0, 3_000)), min_size=1, max_size=40)
)
def test_a_place_is_settled_only_when_it_is_acknowledged_and_old(steps: list[tuple[float, int, int]]) -> None:
    settling, now, sent, acknowledged = Settling(0, 60.0), 0.0, 0, 0
    gone: list[tuple[float, int, int]] = []
    for place, (waited, length, taken) in enumerate(steps, 1):
        now += waited
        sent += length
        settling.sent(now, sent, place)
        gone.append((now, sent, place))
        acknowledged = min(sent, acknowledged + taken)
        settled = settling.look(now, acknowledged)
        allowed = [number for at, end, number in gone if at <= now - 60 and end <= acknowledged]
        assert settled <= max(allowed, default=0)
        # At most the last second of those that might be settled is not.
        sure = [number for at, end, number in gone if at <= now - 62 and end <= acknowledged]
        later = [end for at, end, number in gone if sure and int(at) == int(gone[sure[-1] - 1][0])]
        assert not sure or settled >= sure[-1] or max(later) > acknowledged
    assert settling.lost() == settling.place


def test_pauses_grow_while_carbon_is_away_and_end_when_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    delivery = Delivery(Row(1), Address("127.0.0.1", 1), 0, lambda place: None)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            delivery.stop(0)

    monkeypatch.setattr(delivery, "_pause", pause)
    delivery.run()
    assert pauses[0] < 0.21
    assert delivering.MAX_PAUSE_S * 0.7 <= pauses[-1] <= delivering.MAX_PAUSE_S


def test_who_waits_in_vain_is_told_why() -> None:
    with pytest.raises(CarbonLostError, match=r"carbon at 127.0.0.1:1 cannot be reached: Connection refused"):
        Delivery(Row(1), Address("127.0.0.1", 1), 0, lambda place: None, patience_s=1.0, first_patience_s=0.3).run()


def test_a_deaf_carbon_does_not_hold_up_the_file(ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.stats.carbon.live.GOODBYE_S", 0.2)
    ear.deaf.set()
    with Recording(tmp_path / "crawl.gz") as recording:
        live = LiveDelivery(recording.path, recording.end, ear.address)
        many = [Point(f"stats.ops.timeline.{'w' * 80}{n}", "1", 1_790_000_000) for n in range(5_000)]
        for _ in range(40):
            recording.append(many, None, EventCounts(), durable=False)
            live.grown(recording.end)
        until(lambda: live.delivery.connected, 10)
        assert live.delivery.place < recording.end
        live.close()


def test_acknowledged_counts_what_the_other_side_has_taken(ear: Ear) -> None:
    link = Link(ear.address)
    link.send(b"a 1 1\n" * 100)
    until(lambda: link.acknowledged() == link.sent == 600, 10)
    link.finish()
    assert ear.heard == [b"a 1 1\n" * 100]
    link.close()


@given(POINTS)
def test_a_point_is_read_as_it_was_written(one: Point) -> None:
    if ";" not in one.name:
        assert point(one.line()[:-1]) == one
