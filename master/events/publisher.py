"""The PUB socket: publishes committed events to subscribers. It never blocks, and nothing depends on its subscribers.

A stuck subscriber has a queue of bounded bytes, beyond which events are dropped for it; it finds them in the log.
Without subscribers nothing is sent, but the end of the log is tracked all the same.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zmq

from master.events.log_end import LogEnd
from protocol.events import GAUGES, LOG, Announcement, announced, frames, heads, parts
from protocol.logs import JsonLines
from storage.ledger.ledger import Lead

HEADS_S = 1.0
"""How often the heads of all topics are published."""
GAUGES_S = 1.0
MAX_LINES = 1000
"""Lines of the log that wait to be published."""
MAX_TOPICS = 10_000
MAX_TOPIC_LENGTH = 256
SUBSCRIPTIONS_A_TURN = 1000
MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)


class Leader(Protocol):
    """What a leader has to publish: `events`, which the publisher empties, up to `log_end`."""

    lead: Lead
    log_end: LogEnd
    events: list[Announcement]


class LogTail(logging.Handler):
    """Keeps the last lines of this process' log until they are published."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: deque[str] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(self.format(record))


class Publisher:
    """Publishes for one master. `remade` replaces the socket, given the old one, when a key was revoked: `changes`
    counts how often that may have happened."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        tail: LogTail,
        *,
        changes: Callable[[], int] = lambda: 0,
        remade: Callable[[zmq.Socket[bytes]], zmq.Socket[bytes]] = lambda socket: socket,
    ) -> None:
        self._socket, self._tail = socket, tail
        self._changes, self._remade, self._seen = changes, remade, changes()
        self._topics: set[str] = set()
        self._heads_at = self._gauges_at = float("-inf")
        self._gauges = 0

    @property
    def watched(self) -> bool:
        """Whether a subscriber wants the gauges."""
        return self._wanted(GAUGES)

    def turn(self, now: float, dispatch: Leader | None, document: Callable[[], dict[str, Any]]) -> None:
        """Publish what is pending. `dispatch` is None while this master does not lead; `document` makes the body of
        `stats.gauges`."""
        if self._changes() != self._seen:
            self._seen = self._changes()
            self._socket, self._topics = self._remade(self._socket), set()
        self._read_subscriptions()
        if dispatch is None:
            self._tail.lines.clear()
            return
        for message in self._due(now, dispatch, document):
            for part in message[:-1]:
                self._socket.send(part, MORE)
            self._socket.send(message[-1], LAST)

    def close(self) -> None:
        """Stop publishing."""
        self._socket.close()

    def _due(self, now: float, dispatch: Leader, document: Callable[[], dict[str, Any]]) -> Iterator[list[bytes]]:
        incarnation, log_end, events = dispatch.lead.incarnation, dispatch.log_end, dispatch.events
        if events:
            dispatch.events = []
            told = log_end.advance(events)
            if self._topics:
                for event in events:
                    yield from announced(incarnation, event)
                yield heads(incarnation, told)
        if not self._topics:
            self._tail.lines.clear()
            return
        if now - self._heads_at >= HEADS_S:
            self._heads_at = now
            yield heads(incarnation, log_end.whole())
        if self._wanted(GAUGES) and now - self._gauges_at >= GAUGES_S:
            self._gauges_at = now
            self._gauges += 1
            for body in parts(self._gauges, json.dumps(document()).encode()):
                yield frames(GAUGES, incarnation, log_end.sequence, 0, body)
        wanted = self._wanted(LOG)
        while self._tail.lines:
            line = self._tail.lines.popleft()
            if wanted:
                yield frames(LOG, incarnation, log_end.sequence, 0, line.encode())

    def _wanted(self, topic: str) -> bool:
        return any(topic.startswith(one) for one in self._topics)

    def _read_subscriptions(self) -> None:
        """Read subscriptions. A topic is reported when its first subscriber arrives and when its last one has left."""
        for _ in range(SUBSCRIPTIONS_A_TURN):
            try:
                word = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            topic = word[1:].decode(errors="replace")
            if word[:1] == b"\x01" and len(topic) <= MAX_TOPIC_LENGTH and len(self._topics) < MAX_TOPICS:
                self._topics.add(topic)
                self._heads_at = float("-inf")  # a new subscriber needs the heads of the log
            elif word[:1] == b"\x00":
                self._topics.discard(topic)
