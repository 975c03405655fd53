"""Delivers points to carbon; points that it misses while it is down, or loses when it dies, are sent again.

Rules:
  * The points are read from their file, in order, when they are sent: only one batch is in memory, and the writer of
    the file is never blocked.
  * A place in the file is settled when the kernel of carbon's machine has acknowledged everything before it, and
    `SETTLE_S` have passed since: carbon has had time to write it. After a lost connection everything after the settled
    place is sent again. That is harmless: a repeated point is the same point, and the last of a slot wins.
  * Lost connections are reconnected, after pauses that double up to `MAX_PAUSE_S`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.backoff import Backoff
from protocol.errors import DatasetError
from protocol.logs import fields
from services.stats.carbon.connection import MAX_POINTS, READ_ALL_S, Address, CarbonLostError, Link
from services.stats.recording.points import Point

SETTLE_S: Final = 60.0
FIRST_PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 10.0
IDLE_S: Final = 1.0
"""How often an idle connection is checked."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Points, and the place after them. `wait_s`: how long to wait before they are sent."""

    points: Sequence[Point]
    place: int
    wait_s: float = 0.0


class PointFeed(Protocol):
    """The source of the points."""

    def read(self, place: int) -> Batch | None:
        """The batch at a place; None when there is none yet. Raises DatasetError."""

    def ended(self, place: int) -> bool:
        """Whether there will never be a batch at a place."""


class Settling:
    """Tracks which of the sent places are settled. Times are seconds of one monotonic clock."""

    def __init__(self, place: int, settle_s: float = SETTLE_S) -> None:
        self.place = place
        self._settle_s = settle_s
        self._sent: deque[tuple[float, int, int]] = deque()

    def sent(self, now: float, sent: int, place: int) -> None:
        """Everything before `place` was passed to the kernel, in so many bytes. One entry a second is kept."""
        if self._sent and int(self._sent[-1][0]) == int(now):
            self._sent.pop()
        self._sent.append((now, sent, place))

    def look(self, now: float, acknowledged: int) -> int:
        """The settled place, when so many bytes are acknowledged."""
        while self._sent and self._sent[0][0] <= now - self._settle_s and self._sent[0][1] <= acknowledged:
            self.place = self._sent.popleft()[2]
        return self.place

    def lost(self) -> int:
        """The connection is lost: returns the place from which to send again."""
        self._sent.clear()
        return self.place


class Delivery:
    """Sends a feed to one carbon. `run` blocks, and is for a thread; `wake` and `stop` may be called from any.

    `settled` is called with each new settled place, at most once a second. With `patience_s` it raises CarbonLostError
    when carbon was unavailable for so long; `first_patience_s` is the same before the first connection.
    """

    def __init__(
        self,
        feed: PointFeed,
        address: Address,
        place: int,
        settled: Callable[[int], None],
        *,
        patience_s: float | None = None,
        first_patience_s: float | None = None,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._feed, self._address, self._settled = feed, address, settled
        self._patience_s, self._first_patience_s = patience_s, first_patience_s
        self._settling = Settling(place, settle_s)
        self._told_at = 0.0
        self._awake = threading.Event()
        self._deadline: float | None = None
        self.place = place
        """The place before which the kernel has everything."""
        self.connected = False

    def wake(self) -> None:
        """Wake `run`: there may be more in the feed."""
        self._awake.set()

    def stop(self, within_s: float) -> None:
        """Make `run` send the rest, for at most so long, and return."""
        self._deadline = time.monotonic() + within_s
        self._awake.set()

    def run(self) -> None:
        """Send until the feed ends or `stop` is called."""
        backoff, away_since = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S), time.monotonic()
        quiet, patience_s = False, self._first_patience_s
        while not self._stopping() or self.connected:
            try:
                self._deliver()
                return
            except CarbonLostError as error:
                if self.connected:
                    backoff.reset()
                    away_since, quiet = time.monotonic(), False
                    patience_s = self._patience_s
                if not quiet and self._patience_s is None:
                    log.warning("carbon is away; what it misses is sent when it is back", extra=fields(why=error))
                quiet, self.connected, self.place = True, False, self._settling.lost()
                if patience_s is not None and time.monotonic() - away_since > patience_s:
                    raise
            except DatasetError as error:
                if self._patience_s is not None:
                    raise
                log.error(
                    "what goes to carbon cannot be read or noted down; it is tried again", extra=fields(why=error)
                )
                self.connected, self.place = False, self._settling.lost()
            self._pause(backoff.next() * random.uniform(0.7, 1.0))

    def _deliver(self) -> None:
        """One connection, until the feed ends."""
        link = Link(self._address)
        try:
            self.connected = True
            log.info("connected to carbon", extra=fields(carbon=self._address))
            while True:
                self._awake.clear()
                batch = self._feed.read(self.place)
                if batch is None:
                    if self._stopping() or self._feed.ended(self.place):
                        break
                    self._awake.wait(IDLE_S)
                    link.look()
                else:
                    if batch.wait_s:
                        self._pause(batch.wait_s)
                        link.look()
                    for at in range(0, len(batch.points), MAX_POINTS):
                        points = batch.points[at : at + MAX_POINTS]
                        link.send(self._address.encode(points), lambda: not self._over())
                    self.place = batch.place
                    self._settling.sent(time.monotonic(), link.sent, batch.place)
                self._tell(link)
                if self._over():
                    return
            link.finish(READ_ALL_S if self._deadline is None else max(0.0, self._deadline - time.monotonic()))
            if not self._stopping():
                self._settled(self.place)
        finally:
            link.close()

    def _tell(self, link: Link) -> None:
        now = time.monotonic()
        if now - self._told_at >= 1.0:
            before = self._settling.place
            if self._settling.look(now, link.acknowledged()) != before:
                self._settled(self._settling.place)
            self._told_at = now

    def _stopping(self) -> bool:
        return self._deadline is not None

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _pause(self, seconds: float) -> None:
        """Wait, unless it is time to stop."""
        until = time.monotonic() + seconds
        while not self._stopping() and (left := until - time.monotonic()) > 0:
            self._awake.clear()
            self._awake.wait(left)
