"""Whatever is lost, doubled, late or rolled back, a subscriber ends with what the log says, each event once.

The log, the wire and the consumer's store are models; `GapRepair`, and the reading of the log, are the real ones. The
mutants at the end are mistakes that a subscriber could make: each is caught.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack
import pytest

from master.events.log_end import LogEnd
from master.events.log_reader import reign_of
from protocol import messages as wire
from protocol.events import Announcement, Heads, announced, heads, received
from services.subscriber.consumer import Event, Position
from services.subscriber.gap_repair import GapRepair

TOPICS = ("job.done", "timeline.page", "user.page", "master.leads")
WANTED = ("job.", "timeline.")
SEEDS = 300


@dataclass
class Crawl:
    """A log that grows, is trimmed and rolled back, and the leader that tells of it."""

    chance: random.Random
    entries: list[wire.Entry] = field(default_factory=list)
    first: int = 1
    reigns: list[tuple[str, int]] = field(default_factory=list)
    incarnation: str = ""
    tip: LogEnd = field(default_factory=LogEnd)
    wire_out: list[list[bytes]] = field(default_factory=list)

    def lead(self) -> None:
        self.incarnation = f"{self.chance.getrandbits(32):08x}"
        last: dict[str, int] = {}
        for entry in self.entries:
            last[entry.topic] = entry.sequence
        self.tip = LogEnd(self.head, last)
        self.reigns.append((self.incarnation, self.head + 1))
        self.commit(["master.leads"])

    @property
    def head(self) -> int:
        return self.entries[-1].sequence if self.entries else 0

    def commit(self, topics: list[str]) -> None:
        events: list[Announcement] = []
        for topic in topics:
            sequence, previous = self.head + 1, self.tip.last.get(topic, 0)
            for event in events:
                previous = event.sequence if event.topic == topic else previous
            body: bytes = msgpack.packb([self.incarnation, sequence])
            self.entries.append(wire.Entry(sequence, previous, topic, body))
            page = body * self.chance.randrange(2) if topic == "timeline.page" else b""
            events.append(Announcement(sequence, previous, topic, body, "timeline.records", page))
        told = self.tip.advance(events)
        self.wire_out += [message for event in events for message in announced(self.incarnation, event)]
        self.wire_out.append(heads(self.incarnation, told))

    def tell_all(self) -> None:
        self.wire_out.append(heads(self.incarnation, self.tip.whole()))

    def roll_back(self) -> None:
        """The ledger loses its end, and what was said of it was said; the next leader goes on from there."""
        del self.entries[max(self.first, len(self.entries) - self.chance.randrange(1, 30)) :]
        self.reigns = [(name, first) for name, first in self.reigns if first <= self.head]
        self.lead()

    def trim(self) -> None:
        self.first = max(self.first, self.head - self.chance.randrange(0, 40))

    def replay(self, asked: wire.Replay) -> wire.Events:
        def answer(how: str, covered: int, entries: list[wire.Entry]) -> wire.Events:
            return wire.Events("L", how, self.first, self.head, reign_of(self.reigns, covered), covered, entries)

        known = not asked.sequence or reign_of(self.reigns, asked.sequence) == asked.incarnation
        if asked.ledger and (asked.sequence > self.head or not known):
            return answer(wire.OTHER, self.head, [])
        if asked.sequence + 1 < self.first:
            return answer(wire.GONE, self.head, [])
        rest = [entry for entry in self.entries if entry.sequence > asked.sequence][: self.chance.randrange(1, 20)]
        covered = rest[-1].sequence if rest else asked.sequence
        return answer(wire.KEPT, covered, [entry for entry in rest if entry.topic.startswith(WANTED)])


@dataclass
class Store:
    """What a consumer keeps: what it derived, and its position, in one commit."""

    seen: list[tuple[int, bytes]] = field(default_factory=list)
    position: Position | None = None

    def apply(self, events: list[Event], position: Position) -> None:
        self.seen += [(event.sequence, msgpack.packb(event.record)) for event in events]
        self.position = position


def truth(crawl: Crawl) -> list[tuple[int, bytes]]:
    return [(entry.sequence, entry.body) for entry in crawl.entries if entry.topic.startswith(WANTED)]


def follow(seed: int, make: Callable[[Position | None], GapRepair] = lambda at: GapRepair(WANTED, at)) -> None:
    """One life of a crawl and of its subscriber."""
    chance = random.Random(seed)
    crawl, store = Crawl(chance), Store()
    crawl.lead()
    following = make(None)
    cut_off, asked_cut_off = copy.deepcopy(crawl), False  # a master that sees a ledger which stands still

    def take_over() -> None:
        if following.resynchronise is not None:
            at = following.resynchronise
            store.seen = [one for one in truth(crawl) if one[0] <= at.sequence]
            store.position = at
            following.ready.clear()
            following.resynchronised()
        elif following.position is not None and following.position != store.position:
            events, following.ready = following.ready, []
            store.apply(events, following.position)

    def ask(lost: float) -> None:
        nonlocal asked_cut_off
        wanted = following.wanted()
        if wanted is not None and chance.random() >= lost:
            asked_cut_off = lost > 0 and not asked_cut_off and chance.random() < 0.3
            answer = (cut_off if asked_cut_off else crawl).replay(wanted)
            if chance.random() < 0.2:  # the crawl goes on while the answer is on its way
                crawl.commit([chance.choice(TOPICS)])
            following.replayed(answer)

    for _ in range(chance.randrange(20, 120)):
        if chance.random() < 0.05:
            cut_off = copy.deepcopy(crawl)
        match chance.randrange(10):
            case 0:
                crawl.lead()
            case 1 if chance.random() < 0.3:
                crawl.roll_back()
            case 2 if chance.random() < 0.3:
                crawl.trim()
            case 3:  # kill -9: what was not stored is gone
                following = make(store.position)
            case 4:
                crawl.wire_out.clear()  # nobody heard that
            case _:
                crawl.commit([chance.choice(TOPICS) for _ in range(chance.randrange(1, 6))])
        messages, crawl.wire_out = crawl.wire_out, []
        for message in messages:
            if chance.random() < 0.1:
                continue
            following.heard(received(message))
            if chance.random() < 0.1:
                following.heard(received(message))
        if chance.random() < 0.5:
            ask(lost=0.3)
        if chance.random() < 0.7:
            take_over()
        if chance.random() < 0.3:
            crawl.tell_all()
    for _ in range(400):  # calm: nothing is lost any more
        crawl.tell_all()
        messages, crawl.wire_out = crawl.wire_out, []
        for message in messages:
            following.heard(received(message))
        ask(lost=0.0)
        take_over()
    assert store.seen == truth(crawl), f"seed {seed}"
    assert store.position is not None and store.position.sequence == crawl.head


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_whatever_happens_the_end_is_what_the_log_says(first: int) -> None:
    for seed in range(first, first + 50):
        follow(seed)


def test_a_page_rides_along_with_its_event_and_a_part_of_one_does_not() -> None:
    following = GapRepair(WANTED, None)
    following.replayed(wire.Events("L", wire.KEPT, 1, 0, "", 0, []))
    page = bytes(range(256)) * 400
    events = [
        Announcement(1, 0, "timeline.page", msgpack.packb(["1"]), "timeline.records", page),
        Announcement(2, 1, "timeline.page", msgpack.packb(["2"]), "timeline.records", page),
    ]
    first, second = ([*announced("i", event)] for event in events)
    following.heard(received(heads("i", Heads(0, 0, {}))))
    following.replayed(wire.Events("L", wire.KEPT, 1, 0, "i", 0, []))
    for message in [*first, *second[1:], heads("i", Heads(0, 2, {"timeline.page": 2}))]:
        following.heard(received(message))
    assert [(event.sequence, event.payload) for event in following.ready] == [(1, page), (2, None)]


class GapIgnored(GapRepair):
    """Takes heads for proof without looking whether it has what they name."""

    def _whole(self, told: Heads) -> bool:
        return True


class LastMessageLost(GapRepair):
    """Does not listen to heads that are told from time to time."""

    def _told(self, told: Heads) -> None:
        if told.before:
            super()._told(told)


class AnyHistory(GapRepair):
    """Believes that every leader goes on where the one before ended."""

    def _new_leader(self, incarnation: str) -> None:
        self._incarnation = incarnation


class PositionAhead(GapRepair):
    """Gives out events again that were stored, since its position is not stored with them."""

    def __init__(self, topics: tuple[str, ...], position: Position | None) -> None:
        behind = None if position is None else Position(position.ledger, "", max(0, position.sequence - 3))
        super().__init__(topics, behind)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [GapIgnored, LastMessageLost, AnyHistory, PositionAhead])
def test_a_mistake_in_following_is_noticed(mutant: type[GapRepair]) -> None:
    with pytest.raises(AssertionError):
        for seed in range(SEEDS):
            follow(seed, lambda at: mutant(WANTED, at))


def test_that_the_log_is_gone_must_be_said_twice_in_a_row() -> None:
    other = wire.Events("L", wire.OTHER, 1, 3, "j", 3, [])
    following = GapRepair(WANTED, Position("L", "i", 5))
    following.replayed(other)
    assert following.resynchronise is None and following.wanted() is not None
    following.replayed(wire.Events("L", wire.KEPT, 1, 7, "i", 6, []))
    following.replayed(other)
    assert following.resynchronise is None
    following.replayed(other)
    assert following.resynchronise == Position("L", "j", 3)


def test_a_master_that_stood_still_is_not_believed() -> None:
    following = GapRepair(WANTED, Position("L", "i", 5))
    following.replayed(wire.Events("L", wire.KEPT, 1, 9, "j", 9, []))
    assert following.wanted() is None
    following.heard(received(heads("i", Heads(0, 12, {"job.done": 12}))))
    assert following.wanted() is None
    following.heard(received(heads("k", Heads(9, 12, {}))))
    assert following.wanted() is not None
    for _ in range(5):
        following.replayed(wire.Events("L", wire.OTHER, 1, 5, "i", 5, []))
        following.replayed(wire.Events("L", wire.GONE, 1, 8, "j", 8, []))
    assert following.resynchronise is None
