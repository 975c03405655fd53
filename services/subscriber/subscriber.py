"""One subscriber: the sockets and the clock around `services.subscriber.gap_repair`, and the consumer that it feeds.

It subscribes to every master of the crawl at once, so that a takeover needs no action: only the leader publishes.
Missing events are requested from one master after the other until one answers. A master whose answer is overdue is
called over a new connection, on which a late answer cannot arrive. Events are applied some hundred at a time, so that a
consumer pays for one commit and not for hundreds. A master that leads another crawl than the dataset's is ignored.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import zmq

from protocol import messages as wire
from protocol.errors import LedgerError, MalformedError
from protocol.events import GAUGES, HEADS, LOG, Received, part_of, received
from protocol.logs import fields
from protocol.settings.settings import Settings
from protocol.transport.endpoints import local_pair
from protocol.transport.exposure import certificate_for
from protocol.transport.keys import Certificate
from protocol.transport.refusals import Refusals, watched_dealer
from protocol.transport.sockets import routing_id, subscriber
from services.subscriber.consumer import Consumer, Position
from services.subscriber.gap_repair import GapRepair
from services.subscriber.presence import Presence
from storage.dataset.interface import Dataset

log = logging.getLogger(__name__)

APPLY_S = 0.2
"""How long events wait for more, before they are applied together."""
MAX_EVENTS = 250
MAX_BYTES = 16 * 1024 * 1024
"""Events, and bytes of their pages, that are applied at once."""
ANSWER_S = 2.0
"""How long a master may take to answer before another one is asked."""
WHERE_S = 2.0
"""How often the masters are asked where they publish."""
STRANGER_S = 5.0
"""How long a master may lead another ledger than the dataset's: the dataset is given one at the start of a crawl."""
MESSAGES_A_TURN = 2000
PATIENCE_MS = 50
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""Bytes of gauges."""
UNTOLD: tuple[str, ...] = (GAUGES, LOG)


@dataclass(slots=True)
class _Master:
    """One master: the sockets for requests to it, and for its events."""

    place: str
    dealer: zmq.Socket[bytes]
    refusals: Refusals
    owes: bool = False
    """Whether a request for a part of the log is unanswered."""
    events: str = ""
    hears: zmq.Socket[bytes] | None = None
    where_at: float = float("-inf")
    strange_since: float | None = None
    """Since when it leads another crawl than the dataset's, None when it does not."""
    told: set[str] = field(default_factory=set)


class Subscriber:
    """Feeds one consumer from the masters that the settings name. `dataset` is what the consumer reads too, if any:
    then only masters of its crawl are followed."""

    def __init__(self, settings: Settings, consumer: Consumer, dataset: Dataset | None = None) -> None:
        self._consumer, self._dataset, self._crawl = consumer, dataset, settings.crawl
        self._places = settings.master or local_pair(settings.host, settings.port)
        self._certificate: Certificate | None = certificate_for(self._places, settings.key, settings.insecure)
        self.following = GapRepair(consumer.topics, consumer.position())
        self._stored = self.following.position
        self._apply_at = self._ask_at = float("-inf")
        self._presence = Presence(consumer.name, self._places, self._certificate)
        self._asked = 0
        self._parts: dict[str, dict[int, bytes]] = {}
        self._part_of: dict[str, int] = {}
        self._led = ""

    def from_now_on(self) -> None:
        """Start at the end of the log, unless a position is stored."""
        self.following.only_new = True

    def begin_behind(self, sequence: int) -> None:
        """Start after a sequence, whatever is stored."""
        self.following.position = Position("", "", sequence)

    def run(self, stopped: threading.Event | None = None) -> None:
        """Run until stopped. Raises what the consumer raises, and LedgerError when a master leads another crawl than
        that of the dataset."""
        stopped = stopped or threading.Event()
        if self._stored is not None and self._stored.ledger:
            self._presence.at(self._stored)
        self._presence.start()
        try:
            with zmq.Context() as context, contextlib.ExitStack() as opened:
                self._run(context, opened, stopped)
        finally:
            self._presence.end()

    def _run(
        self, context: zmq.Context[zmq.Socket[bytes]], opened: contextlib.ExitStack, stopped: threading.Event
    ) -> None:
        poller = zmq.Poller()
        masters = []
        for place in self._places:
            masters.append(_Master(place, *self._line(context, place)))
            opened.callback(_close, masters[-1])
            poller.register(masters[-1].dealer, zmq.POLLIN)
        while not stopped.is_set():
            poller.poll(PATIENCE_MS)
            now = time.monotonic()
            for master in masters:
                self._read_answers(context, poller, master)
                if master.hears is not None and master.strange_since is None:
                    self._read_events(master.hears)
            self._apply(now)
            self._ask(now, masters, context, poller)
        if self.following.resynchronise is None:  # that would take long, and can be done at the next start
            self._apply(float("inf"))

    def _line(self, context: zmq.Context[zmq.Socket[bytes]], place: str) -> tuple[zmq.Socket[bytes], Refusals]:
        return watched_dealer(context, place, routing_id(), certificate=self._certificate)

    def _call_anew(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, master: _Master) -> None:
        """Reconnect under a new routing id, to which earlier requests are not answered."""
        poller.unregister(master.dealer)
        master.refusals.close()
        master.dealer.close(0)
        master.dealer, master.refusals = self._line(context, master.place)
        poller.register(master.dealer, zmq.POLLIN)
        master.owes, master.where_at = False, float("-inf")

    # Incoming.

    def _read_events(self, hears: zmq.Socket[bytes]) -> None:
        for _ in range(MESSAGES_A_TURN):
            if len(self.following.ready) >= MAX_EVENTS:
                return
            try:
                event = received(hears.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except MalformedError as error:
                log.debug("an event was not understood: %s", error)
                continue
            if event.topic in UNTOLD:
                self._hear(event)
            else:
                self.following.heard(event)

    def _hear(self, event: Received) -> None:
        """Messages that are not in the log go to the consumer directly; the gauges when all parts have arrived."""
        try:
            if event.topic == LOG:
                body: Any = json.loads(event.body)
            else:
                body = self._whole(event)
        except (MalformedError, ValueError, RecursionError) as error:
            log.debug("something of %s was not understood: %s", event.topic, error)
            return
        if isinstance(body, dict):
            self._consumer.hear(event.topic, _line(body) if event.topic == LOG else body)

    def _whole(self, event: Received) -> Any:
        part = part_of(event)
        if self._part_of.get(event.topic) != part.number:
            self._part_of[event.topic], self._parts[event.topic] = part.number, {}
        held = self._parts[event.topic]
        held[part.part] = part.data
        if sum(map(len, held.values())) > MAX_DOCUMENT_BYTES:
            raise MalformedError(f"a document of more than {MAX_DOCUMENT_BYTES} bytes")
        return json.loads(b"".join(held[n] for n in range(part.parts))) if len(held) == part.parts else None

    def _read_answers(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, master: _Master) -> None:
        while True:
            try:
                answer = wire.decode(master.dealer.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except MalformedError as error:
                log.debug("an answer was not understood: %s", error)
                continue
            if isinstance(answer, wire.Events):
                master.owes, self._ask_at = False, float("-inf")
                self.following.replayed(answer)
            elif isinstance(answer, wire.Report):
                self._learn(context, poller, master, answer.document)
            elif isinstance(answer, wire.Refused) and answer.words not in master.told:
                master.told.add(answer.words)
                log.warning(f"the master at {master.place} would not answer: {answer.words}")

    def _learn(
        self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, master: _Master, document: str
    ) -> None:
        """Where a master publishes; the address may change after its restart."""
        said = json.loads(document)
        if self._is_strange(master, said):
            return
        events = str(said.get("events", ""))
        if said.get("role") == "leading" and self._led != master.place:
            self._led = master.place
            log.info("a master leads", extra=fields(address=master.place, events=events))
        if not events or events == master.events:
            return
        # A master names the address by its own view; the host is the one by which it is reached from here.
        where = f"{master.place.rpartition(':')[0]}:{events.rpartition(':')[2]}"
        if master.hears is not None:
            poller.unregister(master.hears)
            master.hears.close(0)
        topics = (*self._consumer.topics, HEADS)
        master.hears = subscriber(context, where, topics, certificate=self._certificate)
        master.events = events
        poller.register(master.hears, zmq.POLLIN)
        self.following.behind = True  # what was published before this connection

    def _is_strange(self, master: _Master, said: dict[str, Any]) -> bool:
        """Whether a master leads another crawl than that of the dataset. Raises LedgerError when that lasts."""
        ours = self._dataset.ledger_id(self._crawl) if self._dataset is not None else None
        if ours is None or said.get("role") != "leading" or said.get("ledger") == ours:
            master.strange_since = None
            return False
        now = time.monotonic()
        master.strange_since = now if master.strange_since is None else master.strange_since
        if now - master.strange_since < STRANGER_S:
            return True
        assert self._dataset is not None
        raise LedgerError(
            f"the master at {master.place} leads ledger {said.get('ledger')}, and {self._dataset.where} belongs to "
            f"{ours}: name the right ones by --master and --output"
        )

    # Outgoing.

    def _apply(self, now: float) -> None:
        """Deliver what is ready, when it is enough or has waited long enough."""
        following = self.following
        if following.resynchronise is not None:
            position = following.resynchronise
            log.warning(
                "what was announced is not to be had any more: everything is made anew from the dataset",
                extra=fields(position=position),
            )
            following.ready.clear()
            self._presence.at(position)  # from here on the log is kept for this subscriber
            self._consumer.resynchronise(position)
            following.resynchronised()
            self._stored = following.position
            return
        events, position_now = following.ready, following.position
        if position_now is None or not position_now.ledger or position_now == self._stored:
            return
        size = sum(len(event.payload or b"") for event in events)
        if now < self._apply_at and len(events) < MAX_EVENTS and size < MAX_BYTES:
            return
        following.ready = []
        self._consumer.apply(events, position_now)
        self._stored, self._apply_at = position_now, time.monotonic() + APPLY_S
        self._presence.at(position_now)
        following.prove()

    def _ask(
        self, now: float, masters: list[_Master], context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller
    ) -> None:
        for master in masters:
            words = master.refusals.look(now)
            if words and words not in master.told:
                master.told.add(words)
                log.warning(words)
            if now >= master.where_at:
                master.where_at = now + (WHERE_S if _say(master, wire.Status("where")) else PATIENCE_MS / 1000)
        wanted = self.following.wanted()
        if wanted is None or now < self._ask_at or len(self.following.ready) >= MAX_EVENTS:
            return
        for master in masters:
            if master.owes:
                self._call_anew(context, poller, master)
        self._asked += 1
        for number in range(len(masters)):
            master = masters[(self._asked + number) % len(masters)]
            if master.strange_since is None and _say(master, wanted):
                master.owes, self._ask_at = True, now + ANSWER_S
                return
        self._ask_at = now + PATIENCE_MS / 1000


def _close(master: _Master) -> None:
    master.refusals.close()
    master.dealer.close(0)
    if master.hears is not None:
        master.hears.close(0)


def _say(master: _Master, message: wire.Message) -> bool:
    try:
        master.dealer.send_multipart(wire.encode(message), zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def _line(said: dict[str, Any]) -> dict[str, Any]:
    """A line of a master's log: `time`, `level`, `message`, and what it is about."""
    known = ("time", "level", "message", "logger", "process")
    return {
        "at": said.get("time", ""),
        "level": said.get("level", ""),
        "message": said.get("message", ""),
        "fields": {name: value for name, value in said.items() if name not in known},
    }
