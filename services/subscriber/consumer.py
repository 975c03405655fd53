"""The interface between a subscriber and a service.

Rules that a consumer keeps:
  * `apply` stores what it derives from the events together with the position, in one commit: all of it or nothing.
  * Events are never applied twice: a position only grows, except after `resynchronise`.
  * Records are identified by their ids: a page that is crawled again adds nothing.
  * A page without its records (`payload` is None) is read from the dataset, at the latest when the job of its account
    is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.errors import MalformedError
from protocol.numbers import MAX_INT64, whole_number


@dataclass(frozen=True, slots=True)
class Position:
    """How far a subscriber has come in the log of a crawl: everything up to `sequence` is applied.

    `ledger` is the id of the crawl's ledger; `incarnation` is the leadership that assigned the sequence, which
    distinguishes a rolled-back history from the one that replaced it.
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
    """One announcement of a commit. `record` is the small record of the log, whose fields `docs/events.md` lists by
    topic; `payload` is the gzip member of JSON lines that was sent with it, None if it was not received."""

    sequence: int
    topic: str
    record: list[Any]
    payload: bytes | None = None


class Consumer(Protocol):
    """A service, as its subscriber sees it. All methods are called from one thread."""

    @property
    def name(self) -> str:
        """Its name at the masters, for instance `indexer`; "" for one for which the log is not kept."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Prefixes of the topics that it subscribes to, including those of `hear`."""

    def position(self) -> Position | None:
        """The position stored with the data; None before the first run."""

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store what is derived from the events, in order, and the position. `events` may be empty."""

    def resynchronise(self, position: Position) -> None:
        """The events up to there are unavailable: rebuild everything from the dataset, and store the position. The
        position was read before, so later events may be in the dataset already."""

    def hear(self, topic: str, body: Any) -> None:
        """A message that is not in the log: the gauges of `stats.gauges`, a line of `log.master`. It may be lost."""
