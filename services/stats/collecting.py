"""The consumer of `tmatic-stats collect`: events and gauges become lines of a recording.

A result (`job.done`) becomes one line, in the commit that has its position: it is recorded once, however often we die.
Gauges arrive once a second and may be lost; their lines wait up to `GATHER_S` for a common commit, since lines in one
member take far less space than as many members.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol.errors import UsageError
from protocol.jobs import OPERATIONS, Operation, Outcome
from protocol.logs import fields
from services.stats.counts import ORDER, EventCounts, leadership_of, mark, survey
from services.stats.metrics import FAILED, INCLUDED, MAX_NUMBER, OPS, TAKEOVERS, Metric, Number, Sample, samples, shown
from services.stats.recording.points import Point
from services.stats.recording.recording import Recording
from services.subscriber.consumer import Event, Position
from storage.dataset.interface import Dataset

GATHER_S: Final = 2
UNHEARD: Final = "unheard"
"""Replaces a worker's name for results without an event, counted from the dataset, and for the correction by a
repair, which is negative when it subtracts."""
MAX_WORKERS: Final = 10_000
"""Workers whose records are totalled for a scrape."""

log = logging.getLogger(__name__)


class Collecting:
    """Records a crawl. `grown` is called with the new length of the recording after each commit.

    The subscriber calls from one thread; `tick`, `now` and `flush` may be called from others.
    """

    name = "stats"
    topics: tuple[str, ...] = ("job.", "master.", "stats.")

    def __init__(
        self,
        recording: Recording,
        dataset: Dataset,
        crawl: str,
        *,
        grown: Callable[[int], None] = lambda end: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._recording, self._dataset, self._crawl = recording, dataset, crawl
        self._grown, self._clock = grown, clock
        self._lock = threading.Lock()
        self._waiting: list[Point] = []
        self._waiting_since = 0
        self._gauged_at = 0
        self._latest: list[Sample] = []
        self._by_worker: dict[tuple[str, str], Number] = {}

    def position(self) -> Position | None:
        """The position stored with the last commit."""
        return self._recording.position

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Record these events, and the position, in one commit."""
        with self._lock:
            at, counts = int(self._clock()), self._recording.counts.copy()
            lines = []
            for event in events:
                for sample in self._said(event, counts):
                    lines.append(Point(sample.name, shown(sample.value), at))
            if lines or counts != self._recording.counts or position != self._recording.position:
                self._commit(lines, position, counts, durable=bool(lines))

    def resynchronise(self, position: Position) -> None:
        """Count the receipts of the crawl: their excess over the recording becomes one line per operation.

        Jobs that are in the dataset already are not counted when they are announced later. Raises UsageError when the
        recording is of another crawl. Despite a new ledger it is of this one when the dataset has the receipts of the
        jobs that it counted: then `--adopt` was used.
        """
        if not self._dataset.is_there:
            log.warning(
                "there is no dataset here to count anew from: results that were missed are not counted",
                extra=fields(output=self._dataset.where, position=position),
            )
        found = survey(self._dataset.receipts(), self._crawl)
        before = self._recording.position
        if before is not None and before.ledger != position.ledger:
            if self._recording.counts.leadership not in found.leaderships:
                raise UsageError(
                    f"{self._recording.path} records another crawl (ledger {before.ledger}, and this one is "
                    f"{position.ledger}): name another file"
                )
            log.info("the ledger is another one, and the crawl is the same", extra=fields(ledger=position.ledger))
        with self._lock:
            at, counts, lines = int(self._clock()), self._recording.counts.copy(), self._waiting
            for operation in ORDER:
                missing = found.records[operation] - counts.records[operation]
                if missing > 0 or found.results[operation] > counts.results[operation]:
                    sample = Sample(OPS, (OPERATIONS[operation].name, UNHEARD), max(0, missing))
                    lines = [*lines, Point(sample.name, shown(sample.value), at)]
                    counts.records[operation] += max(0, missing)
                counts.results[operation] = max(found.results[operation], counts.results[operation])
            counts.known = max(counts.known + 1, int(self._clock() * 1000))
            counts.leadership = counts.leadership or min(found.leaderships, default=0)
            self._recording.recount(lines, position, counts, found.known)
            self._waiting = []
            self._grown(self._recording.end)
        log.info("counted anew from the dataset", extra=fields(jobs=len(found.known), position=position))

    def hear(self, topic: str, body: Any) -> None:
        """Record the gauges of this second, unless they are of another ledger: whether it is the same crawl is unknown
        until everything is recounted."""
        if topic != "stats.gauges" or not isinstance(body, dict):
            return
        with self._lock:
            position, ledger = self._recording.position, body.get("ledger")
            if position is not None and ledger and ledger != position.ledger:
                return
            at = int(self._clock())
            if at == self._gauged_at:
                return
            self._gauged_at = at
            self._latest = [*samples(body), *self._counted(self._recording.counts)]
            if not self._waiting:
                self._waiting_since = at
            self._waiting += [Point(sample.name, shown(sample.value), at) for sample in self._latest]
        self.tick()

    def tick(self) -> None:
        """Commit and sync what is due. To be called once a second."""
        with self._lock:
            if self._waits_s() >= GATHER_S:
                self._commit([], self._recording.position, self._recording.counts, durable=False)
            self._recording.sync_when_due()

    def now(self) -> list[Sample]:
        """The current numbers, for a scrape."""
        with self._lock:
            results = [Sample(OPS, labels, value) for labels, value in self._by_worker.items()]
            counted = [] if self._latest else self._counted(self._recording.counts)
            return [*self._latest, *counted, *results]

    def flush(self) -> None:
        """Commit the waiting lines."""
        with self._lock:
            lines, self._waiting = self._waiting, []
            if lines:
                self._commit(lines, self._recording.position, self._recording.counts, durable=True)

    def _commit(self, lines: list[Point], position: Position | None, counts: EventCounts, *, durable: bool) -> None:
        """Commit these lines, and those that have waited for `GATHER_S`."""
        if self._waits_s() >= GATHER_S:
            lines, self._waiting = self._waiting + lines, []
        self._recording.append(lines, position, counts, durable=durable)
        self._grown(self._recording.end)

    def _waits_s(self) -> float:
        """How long the oldest line has waited; infinite when the clock was set back."""
        waits = int(self._clock()) - self._waiting_since if self._waiting else 0
        return waits if waits >= 0 else math.inf

    def _said(self, event: Event, counts: EventCounts) -> list[Sample]:
        """Count an event; returns its lines."""
        match event.topic, event.record:
            case "job.done", [str(letter), str(user), str(outcome), int(records), _, _, str(by), *more] if _known(
                letter
            ):
                operation = Operation(letter)
                if counts.known and mark(operation, user, str(more[0]) if more else "") in self._recording.known:
                    return []  # it was in the dataset before it was announced
                if more and (operation is not Operation.UPDATE or not counts.leadership):
                    counts.leadership = leadership_of(str(more[0]))  # The next update's receipt replaces this one.
                counts.results[operation] += outcome != Outcome.NO_LIST.value
                counts.records[operation] += max(0, records)
                labels = (OPERATIONS[operation].name, by)
                if labels in self._by_worker or len(self._by_worker) < MAX_WORKERS:
                    self._by_worker[labels] = self._by_worker.get(labels, 0) + records
                return [Sample(OPS, labels, records)]
            case "master.repaired", [_, dict(included), *_]:
                return _set_right(counts, included)
            case "job.failed", [str(letter), *_] if _known(letter):
                counts.failed[Operation(letter)] += 1
            case "master.leads", _:
                counts.leads += 1
            case "job.done" | "job.failed", _:
                log.warning("an event is not what it must be", extra=fields(topic=event.topic, sequence=event.sequence))
        return []

    def _counted(self, counts: EventCounts) -> list[Sample]:
        """The numbers that are counted from events."""
        by_operation: list[tuple[Metric, dict[Operation, int]]] = [(INCLUDED, counts.records), (FAILED, counts.failed)]
        found = [
            Sample(metric, (OPERATIONS[operation].name,), numbers[operation])
            for metric, numbers in by_operation
            for operation in ORDER
            if (metric, operation) != (INCLUDED, Operation.ANALYSE)  # It counts the accounts taken in.
        ]
        return [*found, Sample(TAKEOVERS, (), counts.takeovers)]


def _set_right(counts: EventCounts, included: dict[Any, Any]) -> list[Sample]:
    """A repair counted the records of jobs that are done and stay so; returns the lines of the difference, negative for
    jobs to be repeated. Every job that ends after it counts, whatever the dataset had of it before."""
    counts.known, lines = 0, []
    for operation in ORDER:
        records = included.get(operation.value)
        if isinstance(records, int) and 0 <= records < MAX_NUMBER and records != counts.records[operation]:
            lines.append(Sample(OPS, (OPERATIONS[operation].name, UNHEARD), records - counts.records[operation]))
            counts.records[operation] = records
    return lines


def _known(letter: str) -> bool:
    return letter in {operation.value for operation in ORDER}
