"""What the monitor receives, kept in memory for the pages: the latest document, the course, the log's tail, failures.

Rules:
  * The subscriber's thread writes, the server's threads read; a lock is held only briefly, and never while a document
    is prepared or written.
  * Everything is bounded: points, lines, failures, and the length of every text.
  * Nothing is invented: a failure replayed from the log has no time, and a silent feed is shown as silent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.monitor.course import Course, Pace, Speed, point_of
from services.monitor.eta import LONG_S, outlook
from services.monitor.reading import clipped, moment, overview, text, workers
from services.monitor.store import MonitorStore
from services.subscriber.consumer import Event, Position

log = logging.getLogger(__name__)

MAX_FAILURES: Final = 200
MAX_LINE_LENGTH: Final = 2_000
"""Characters of a line of the log with its fields."""
COURSE_S: Final = 60.0
"""How often the course is stored."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log. `number` starts at 1 and never repeats while this process lives; `at` is in Unix seconds."""

    number: int
    at: float
    level: str
    message: str
    fields: str

    def row(self) -> list[Any]:
        """The row that is sent to a page."""
        return [self.number, self.at, self.level, self.message, self.fields]


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that failed, or a job that died. `at` is None if it was announced before the monitor subscribed."""

    sequence: int
    at: float | None
    dead: bool
    operation: str
    user: str
    tries: int
    words: str
    worker: str


class Feed:
    """The consumer of the monitor. The subscriber calls `hear` and `apply`; the rest is for the pages."""

    name = "monitor"
    topics: tuple[str, ...] = ("job.", "master.leads", "stats.gauges", "log.master")

    def __init__(
        self,
        store: MonitorStore,
        scrollback: int,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock, self._monotonic = store, clock, monotonic
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque(maxlen=scrollback)
        self._next_line = 1
        self._failures: deque[Failure] = deque(maxlen=MAX_FAILURES)
        self._failed = 0
        self._failures_version = 0
        self._course = Course()
        self._course_at = monotonic()
        self._speed, self._pace = Speed(), Pace()
        self._overview: dict[str, Any] | None = None
        self._workers: list[list[Any]] = []
        self._heard_at: float | None = None
        self._version = 0
        self.started_at = clock()
        if (kept := store.course()) is not None and not self._course.recall(kept):
            log.warning("the course that was kept is none of this version; it begins anew")

    # ------------------------------------------------------------------------------------------- for the subscriber

    def position(self) -> Position | None:
        """The position up to which the log was read."""
        return self._store.position()

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store the parents of accounts and the position, then show the failures."""
        born = []
        failures = []
        for event in events:
            if event.topic == "job.done" and len(event.record) >= 6:
                born.append((str(event.record[1]), str(event.record[5] or ""), int(event.record[4] or 0)))
            elif event.topic in ("job.failed", "job.dead") and len(event.record) >= 5:
                failures.append(self._failure(event))
        self._store.record(born, position)
        if failures:
            with self._lock:
                self._failures.extend(failures)
                self._failed += len(failures)
                self._failures_version += 1

    def resynchronise(self, position: Position) -> None:
        """The events up to there are unavailable: data of another ledger is deleted, and reading continues there."""
        former = self._store.position()
        self._store.begin_anew(position)
        if former is None or former.ledger == position.ledger:
            return
        with self._lock:
            self._course, self._speed, self._pace = Course(), Speed(), Pace()
            self._failures.clear()
            self._failed = 0
            self._failures_version += 1

    def hear(self, topic: str, body: Any) -> None:
        """Receive a document of the gauges, or a line of the log."""
        if topic == "stats.gauges" and isinstance(body, Mapping):
            self._take(body)
        elif topic.startswith("log.") and isinstance(body, Mapping):
            self._log(body)

    def keep(self) -> None:
        """Store the course; done once a minute while documents arrive, and at the end."""
        self._course_at = self._monotonic()
        with self._lock:
            kept = self._course.kept()
        self._store.keep_course(kept)

    def _take(self, document: Mapping[str, Any]) -> None:
        crew = workers(document)
        seen = overview(document, crew)
        now = self._clock()
        self._speed.look(self._monotonic(), seen)
        self._pace.look(self._monotonic(), crew)
        with self._lock:
            if seen["leads"]:
                self._course.add(point_of(now, seen))
            latest = self._course.latest(LONG_S)
        seen["outlook"] = asdict(outlook(seen, latest))
        seen["at"] = now
        with self._lock:
            self._overview, self._workers = seen, crew
            self._heard_at = self._monotonic()
            self._version += 1
        if self._monotonic() - self._course_at >= COURSE_S:
            self.keep()

    def _log(self, body: Mapping[str, Any]) -> None:
        level = text(body, "level").lower()
        about = body.get("fields")
        words = " ".join(f"{key}={value}" for key, value in about.items()) if isinstance(about, Mapping) else ""
        at, message = moment(body.get("at")), body.get("message")
        with self._lock:
            line = Line(
                self._next_line,
                self._clock() if at is None else at,
                level if level in LEVELS else "info",
                clipped(str(message or ""), MAX_LINE_LENGTH),
                clipped(words, MAX_LINE_LENGTH),
            )
            self._lines.append(line)
            self._next_line += 1

    def _failure(self, event: Event) -> Failure:
        operation, user, tries, words, worker = event.record[:5]
        return Failure(
            event.sequence,
            self._clock() if self._heard_at is not None else None,
            event.topic == "job.dead",
            str(operation),
            clipped(str(user)),
            int(tries or 0),
            clipped(str(words or "")),
            clipped(str(worker or "")),
        )

    # ------------------------------------------------------------------------------------------------ for the pages

    @property
    def scrollback(self) -> int:
        """The number of log lines that are kept."""
        return self._lines.maxlen or 0

    @property
    def version(self) -> int:
        """Incremented with every document."""
        return self._version

    @property
    def failures_version(self) -> int:
        """Incremented whenever `failures` changes."""
        return self._failures_version

    def silent_s(self) -> float | None:
        """Seconds since the last document, None before the first."""
        heard = self._heard_at
        return None if heard is None else self._monotonic() - heard

    def overview(self) -> dict[str, Any] | None:
        """The latest document without its workers (`reading.overview`), with `outlook` and `at`; None before one."""
        return self._overview

    def workers(self) -> list[list[Any]]:
        """The rows of the workers (`reading.workers`)."""
        return self._workers

    def course(self) -> dict[str, Any]:
        """The columns of the charts (`Course.columns`)."""
        with self._lock:
            return self._course.columns() | {"started_at": self.started_at}

    def lines(self, after: int = 0) -> list[Line]:
        """The lines of the log's tail with a higher number, oldest first."""
        with self._lock:
            if not self._lines or self._lines[-1].number <= after:
                return []
            skip = max(0, after + 1 - self._lines[0].number)
            return [self._lines[index] for index in range(skip, len(self._lines))]

    def failures(self) -> tuple[int, list[Failure]]:
        """The number of failures, and the latest ones, newest first."""
        with self._lock:
            return self._failed, list(reversed(self._failures))
