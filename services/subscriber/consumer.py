"""What a subscriber hands to a service, and what a service must be able to do with it.

Rules that a consumer keeps:
  * `apply` stores what it derives from the events together with the position, in one commit: all of it or nothing.
  * What was applied is never applied again: a position only grows, but after `resynchronise`.
  * Records are known by their ids: a page that is crawled again brings nothing new.
  * A page whose records did not come along (`payload` is None) is taken from the dataset, at the latest when the job
    of its account is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.errors import MalformedError
from protocol.numbers import MAX_INT64, whole_number


@dataclass(frozen=True, slots=True)
class Position:
    """How far somebody has come in the log of a crawl: everything up to `sequence` is behind him.

    `ledger` is the id of the crawl's ledger; `incarnation` is the leadership that gave the sequence, by which a
    history that was rolled back is told from the one that took its place.
    """

    ledger: str
    incarnation: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.ledger}:{self.incarnation}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that was written by `str`. Raises MalformedError."""
        ledger, _, rest = text.partition(":")
        incarnation, _, number = rest.partition(":")
        sequence = whole_number(number, MAX_INT64)
        if not ledger or sequence is None:
            raise MalformedError(f"{text[:80]!r} is not a position: LEDGER:INCARNATION:SEQUENCE is")
        return cls(ledger, incarnation, sequence)


@dataclass(frozen=True, slots=True)
class Event:
    """One announcement of what was committed. `record` is the small record of the log, whose fields `docs/events.md`
    tells by topic; `payload` is what rode along: a gzip member of JSON lines, None when it did not."""

    sequence: int
    topic: str
    record: list[Any]
    payload: bytes | None = None


class Consumer(Protocol):
    """A service, as its subscriber sees it. All is called from one thread."""

    @property
    def name(self) -> str:
        """Under which the masters know it, for instance `indexer`; "" for one that the log is not kept for."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Beginnings of the topics that it wants, those of `hear` too."""

    def position(self) -> Position | None:
        """What was stored with the data; None before the first time."""

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store what follows from the events, in their order, and the position. There may be no events."""

    def resynchronise(self, position: Position) -> None:
        """The events up to there are not to be had any more: make everything anew from the dataset, and store the
        position. It was read before, so what comes after it may be in the dataset already."""

    def hear(self, topic: str, body: Any) -> None:
        """Something that is in no log: the gauges of `stats.gauges`, a line of `log.master`. It may be lost."""
