"""Writes events to the database: the lookup as its subscriber sees it.

Pages of an analysis arrive with `user.page` and are shown at once; they are settled with `job.done`. Their number shows
whether all of them arrived: the number of records in an event must equal the number received. If it does not (a payload
that was left out, a start in the middle of a job, a job that was restarted), the account's `.inf` file is read when the
analysis is done. Either way the result is the same, that of the files:

    the profile of an account is the largest (`services.lookup.profiles`) of those from completed analyses

An analysis that died or ended without data leaves nothing, as in the files. One difference to the files: when an
account's followers are analysed again in the same crawl, the profiles in the file are replaced, while a larger one that
was seen before stays here until the database is rebuilt.
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
    """A long operation was cancelled, since the process is to end."""


class LookupConsumer:
    """Keeps the lookup's database up to date with the events of a crawl and its dataset."""

    name = "lookup"
    topics: tuple[str, ...] = ("user.", "job.done", "job.dead", "stats.gauges")

    def __init__(self, store: Store, dataset: Dataset, stopped: threading.Event | None = None) -> None:
        """`stopped`, once set, cancels what would take long: a rebuild."""
        self._store = store
        self._dataset = dataset
        self._stopped = stopped or threading.Event()
        self._heard = threading.Lock()
        self._gauges: tuple[float, dict[str, Any]] | None = None

    def position(self) -> Position | None:
        """The position stored with the data; None before the first run."""
        return self._store.position()

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store the contents of the events, and the position, in one transaction."""
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
        """Before the first event: import what the dataset holds already, whose events may be unavailable.

        Raises LookupStoppedError, and changes nothing, when it is stopped meanwhile.
        """
        if self._store.position() is None and self._dataset.is_there:
            with self._store.writing() as writing:
                self._take_all(writing, 0)

    def resynchronise(self, position: Position) -> None:
        """Rebuild everything from the dataset, except what was added by hand; until it is done, readers see the old.

        Raises LookupStoppedError, and changes nothing, when it is stopped meanwhile; DatasetError when there is no
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
            log.error("a file is not in the place of an account's profiles, and is left out", extra=fields(file=where))

        for user in self._dataset.accounts(kind, nameless):
            files += 1
            found = _profiles(self._dataset.lines(user, kind), self._dataset.where_of(user, kind))
            writing.settle(self._until_stopped(found), sequence)
        log.info("took in the dataset", extra=fields(files=files, seconds=round(time.monotonic() - began, 1)))

    def hear(self, topic: str, body: Any) -> None:
        """Keep the gauges of the crawl, for the page for people."""
        if topic == "stats.gauges" and isinstance(body, dict):
            with self._heard:
                self._gauges = time.monotonic(), body

    def gauges(self) -> tuple[float, dict[str, Any]] | None:
        """The age in seconds of the last gauges received, and their contents. From any thread."""
        with self._heard:
            return None if self._gauges is None else (time.monotonic() - self._gauges[0], self._gauges[1])

    def _until_stopped(self, profiles: Iterable[KnownProfile]) -> Iterator[KnownProfile]:
        for profile in profiles:
            if self._stopped.is_set():
                raise LookupStoppedError("it was told to end while everything was made anew; it will begin again")
            yield profile

    def _page(self, writing: Writing, user: str, received: int, payload: bytes | None) -> None:
        """A page of an analysis under way. `received` includes this page."""
        before = writing.analysis(user)
        lines = _lines(user, payload)
        known, whole = (before.received, before.whole) if before is not None else (0, True)
        whole = whole and lines is not None and known + len(lines) == received
        owner = writing.keep_analysis(user, received, whole)
        writing.pend(owner, _profiles(lines or (), user))

    def _done(self, writing: Writing, user: str, outcome: str, received: int, event: Event) -> None:
        """An analysis has ended. If it is complete, its profiles are settled."""
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
    """The profiles of a dead analysis are in no file. If it is requeued, it resumes where it stopped: then the file
    has all of them."""
    if under_way := writing.analysis(user):
        writing.drop_pages(under_way.owner)
        writing.keep_analysis(user, under_way.received, whole=False)


def _lines(user: str, payload: bytes | None) -> list[bytes] | None:
    """The lines of the payload, None if it is missing or cannot be read; then the file is read."""
    if payload is None:
        return None
    try:
        return lines_of(payload)
    except MalformedError as error:
        log.warning("a page of profiles cannot be read, so the file will be: %s", error, extra=fields(user=user))
        return None


def _profiles(lines: Iterable[bytes], source: str) -> Iterator[KnownProfile]:
    """The profiles of lines. Lines that are not profiles are left out, and logged once per source."""
    wrong, last = 0, ""
    for line in lines:
        try:
            yield parsed(line)
        except MalformedError as error:
            wrong, last = wrong + 1, str(error)
    if wrong:
        log.warning("left out what is no profile: %s", last, extra=fields(source=source, lines=wrong))


def _first(profiles: Iterable[KnownProfile]) -> Iterable[KnownProfile]:
    """Each account once: as in the dataset, the first profile of an account is kept."""
    found: dict[str, KnownProfile] = {}
    for profile in profiles:
        found.setdefault(profile.id, profile)
    return found.values()
