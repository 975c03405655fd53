"""Reports a subscriber's position to the masters once a second, whatever the subscriber is busy with.

In its own thread and over its own sockets: a rebuild or a large batch may take minutes, in which the subscriber must
neither be considered gone at the end of a crawl, nor lose the log.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import zmq

from protocol import messages as wire
from protocol.transport.keys import Certificate
from protocol.transport.sockets import dealer, routing_id
from services.subscriber.consumer import Position

EVERY_S = 1.0
LAST_WORD_MS = 500
"""How long the last message may take to be sent."""


class Presence:
    """One subscriber, by its name at the masters. `at` may be called from any thread."""

    def __init__(self, name: str, places: Sequence[str], certificate: Certificate | None) -> None:
        self._name, self._places, self._certificate = name, places, certificate
        self._position: Position | None = None
        self._news, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Start reporting, as soon as there is a position."""
        if self._name:
            self._thread.start()

    def at(self, position: Position) -> None:
        """Everything up to there is stored, or about to be rebuilt from the dataset: the log need not keep it."""
        first, self._position = self._position is None, position
        if first:
            self._news.set()

    def end(self) -> None:
        """Send the last message, and end."""
        self._ended = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with zmq.Context() as context, contextlib.ExitStack() as opened:
            lines = [
                opened.enter_context(dealer(context, place, routing_id(), certificate=self._certificate))
                for place in self._places
            ]
            for line in lines:
                line.setsockopt(zmq.LINGER, LAST_WORD_MS)
                line.setsockopt(zmq.SNDHWM, 2)  # outdated positions are useless
            ended = False
            while not ended:
                self._news.wait(EVERY_S)
                self._news.clear()
                ended, position = self._ended, self._position
                if position is not None:
                    for line in lines:
                        _say(line, wire.Passed(self._name, position.ledger, position.sequence))


def _say(line: zmq.Socket[bytes], message: wire.Passed) -> None:
    """Send, and drop replies: they are only refusals, which the subscriber itself receives too."""
    with contextlib.suppress(zmq.Again):
        line.send_multipart(wire.encode(message), zmq.NOBLOCK)
    with contextlib.suppress(zmq.Again):
        while True:
            line.recv_multipart(zmq.NOBLOCK)
