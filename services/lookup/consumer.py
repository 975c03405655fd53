"""From events to the database: the lookup as its subscriber sees it.

Pages of an analysis ride along with `user.page` and are shown at once; with `job.done` they count. Whether all of them
came along is known by their number: the records that an event tells of must be those that were seen. If they are not
(a payload that was left out, a start in the middle of a job, a job that began again), the account's `.inf` file is read
when the analysis is done. So the end is the same in either way, which is what the files say:

    the profile of an account is the largest (`services.lookup.profiles`) of those that completed analyses brought

An analysis that died or ended without data leaves nothing, as in the files. One thing files cannot tell: an account's
followers that are analysed again, in the same crawl, replace the profiles in the file, while a larger one that was seen
before stays here until everything is made anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from protocol.errors import MalformedError, TmaticError
from protocol.jobs import Operation, Outcome
from protocol.logs import fields
from services.lookup.profiles import KnownProfile, parsed
from services.lookup.store import Store, Writing
from services.subscriber.consumer import Event, Position
from services.subscriber.payloads import lines_of
from storage.dataset.interface import Dataset, RecordKind

log = logging.getLogger(__name__)

_ANALYSE: Final = Operation.ANALYSE.value
_COMPLETE: Final = Outcome.COMPLETE.value


class LookupStoppedError(TmaticError):
    """Something long was broken off, since the process is to end."""


class LookupConsumer:
    """Keeps the lookup's database at what the events of a crawl and its dataset say."""

    name = "lookup"
    topics: tuple[str, ...] = ("user.", "job.done", "job.dead", "stats.gauges")

    def __init__(self, store: Store, dataset: Dataset, stopped: threading.Event | None = None) -> None:
        """`stopped`, once set, breaks off what would take long, which is to make everything anew."""
        self._store = store
        self._dataset = dataset
        self._stopped = stopped or threading.Event()
        self._heard = threading.Lock()
        self._gauges: tuple[float, dict[str, Any]] | None = None

    def position(self) -> Position | None:
        """What was stored with the data; None before the first time."""
        return self._store.position()

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store what the events bring, and the position, in one transaction."""
        with self._store.writing() as writing:
            for event in events:
                match event.topic, event.record:
                    case "user.page", [str(user), int(received), *_]:
                        self._page(writing, user, received, event.payload)
                    case "job.done", [operation, str(user), outcome, int(received), *_] if operation == _ANALYSE:
                        self._done(writing, user, outcome, received, event)
                    case "job.dead", [operation, str(user), *_] if operation == _ANALYSE:
                        _dead(writing, user)
                    case ("user.page", _) | (_, [Operation.ANALYSE.value, *_]):
                        log.warning(
                            "left out an event whose record is of another shape", extra=fields(event=event.topic)
                        )
            writing.place(position)

    def begin(self) -> None:
        """Before the first event: take in what the dataset holds already, which no event may tell of any more.

        Raises StoppedError, and nothing has changed, when it is told to stop meanwhile.
        """
        if self._store.position() is None and self._dataset.is_there:
            with self._store.writing() as writing:
                self._take_all(writing, 0)

    def resynchronise(self, position: Position) -> None:
        """Make everything anew from the dataset, but what was added by hand; until it is done, readers see the old.

        Raises StoppedError, and nothing has changed, when it is told to stop meanwhile; DatasetError when there is no
        dataset.
        """
        self._dataset.require_there()
        before = self._store.position()
        with self._store.writing() as writing:
            writing.empty(same_log=before is not None and before.ledger == position.ledger)
            self._take_all(writing, position.sequence)
            writing.place(position)

    def _take_all(self, writing: Writing, sequence: int) -> None:
        began, files = time.monotonic(), 0
        kind = RecordKind.PROFILES

        def nameless(where: str) -> None:
            log.error("a file does not say whose profiles it has, and is left out", extra=fields(file=where))

        for user in self._dataset.accounts(kind, nameless):
            files += 1
            found = _profiles(self._dataset.lines(user, kind), self._dataset.where_of(user, kind))
            writing.settle(self._until_stopped(found), sequence)
        log.info("took in the dataset", extra=fields(files=files, seconds=round(time.monotonic() - began, 1)))

    def hear(self, topic: str, body: Any) -> None:
        """Remember the gauges of the crawl, for the page that people read."""
        if topic == "stats.gauges" and isinstance(body, dict):
            with self._heard:
                self._gauges = time.monotonic(), body

    def gauges(self) -> tuple[float, dict[str, Any]] | None:
        """How many seconds ago the gauges were heard last, and what they said. From any thread."""
        with self._heard:
            return None if self._gauges is None else (time.monotonic() - self._gauges[0], self._gauges[1])

    def _until_stopped(self, profiles: Iterable[KnownProfile]) -> Iterator[KnownProfile]:
        for profile in profiles:
            if self._stopped.is_set():
                raise LookupStoppedError("it was told to end while everything was made anew; it will begin again")
            yield profile

    def _page(self, writing: Writing, user: str, received: int, payload: bytes | None) -> None:
        """A page of an analysis that goes on. `received` counts this page too."""
        before = writing.analysis(user)
        lines = _lines(user, payload)
        known, whole = (before.received, before.whole) if before is not None else (0, True)
        whole = whole and lines is not None and known + len(lines) == received
        owner = writing.keep_analysis(user, received, whole)
        writing.pend(owner, _profiles(lines or (), user))

    def _done(self, writing: Writing, user: str, outcome: str, received: int, event: Event) -> None:
        """An analysis is over. If it is complete, what it brought counts from now on."""
        if outcome == _COMPLETE:
            under_way = writing.analysis(user)
            lines = _lines(user, event.payload)
            known, whole = (under_way.received, under_way.whole) if under_way is not None else (0, True)
            if lines is None or not whole or known + len(lines) != received:
                self._dataset.require_there()
                if received and not self._dataset.has(user, RecordKind.PROFILES):
                    log.warning("the profiles of an analysis are not in the dataset", extra=fields(user=user))
                stored = self._dataset.lines(user, RecordKind.PROFILES)
                writing.settle(_profiles(stored, user), event.sequence)
            elif under_way is None:
                writing.settle(_first(_profiles(lines, user)), event.sequence)
            else:
                writing.pend(under_way.owner, _profiles(lines, user))
                writing.settle_pages(under_way.owner, event.sequence)
        writing.end_analysis(user)


def _dead(writing: Writing, user: str) -> None:
    """What an analysis brought is in no file. It may be called back to life, and goes on where it stopped: then the
    file has it all."""
    if under_way := writing.analysis(user):
        writing.drop_pages(under_way.owner)
        writing.keep_analysis(user, under_way.received, whole=False)


def _lines(user: str, payload: bytes | None) -> list[bytes] | None:
    """The lines that rode along, None if they did not or cannot be read; then the file will tell."""
    if payload is None:
        return None
    try:
        return lines_of(payload)
    except MalformedError as error:
        log.warning("a page of profiles cannot be read, so the file will be: %s", error, extra=fields(user=user))
        return None


def _profiles(lines: Iterable[bytes], source: str) -> Iterator[KnownProfile]:
    """The profiles of lines. One that is none is left out, and told of once a source."""
    wrong, last = 0, ""
    for line in lines:
        try:
            yield parsed(line)
        except MalformedError as error:
            wrong, last = wrong + 1, str(error)
    if wrong:
        log.warning("left out what is no profile: %s", last, extra=fields(source=source, lines=wrong))


def _first(profiles: Iterable[KnownProfile]) -> Iterable[KnownProfile]:
    """Each account once: as in the dataset, the first of an account counts."""
    found: dict[str, KnownProfile] = {}
    for profile in profiles:
        found.setdefault(profile.id, profile)
    return found.values()
