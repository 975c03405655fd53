"""The table of all metrics: the name of each in the file, in Graphite and for Prometheus, and what it counts.

The names without the prefix `stats.`, those under `stats.worker.` and `stats.ops.` are the original's, so that its
dashboards work. A name in braces is one part of the name, in which everything that Graphite does not allow is escaped,
so that names stay distinct: see `part`.

`fetched` counts the records of every accepted page; `included` those of jobs that are done, which the dataset has as
finished files; for `analyzer` it counts, as in the original, the accounts that were found and taken in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from protocol.jobs import OPERATIONS, Operation

MAX_PART_LENGTH: Final = 200
"""Characters of one part of a name: whisper creates a file for it, and a file name has at most 255 bytes."""

ESCAPE: Final = "~"
DIGEST_DIGITS: Final = 16
"""Hexadecimal digits of SHA-256 that distinguish a truncated name from others with the same beginning."""

MAX_BUDGETS: Final = 500
"""Budgets that are recorded each second, in the order of their names; the monitor shows more."""

MAX_SUBSCRIBERS: Final = 64
MAX_NUMBER: Final = 1 << 63
"""Numbers of this size or more are invalid."""

Number = int | float


class Kind(Enum):
    """How a number changes: a counter only grows within a crawl, a gauge moves freely."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table. `scraped` is the name for Prometheus, which has labels instead of name parts."""

    name: str
    scraped: str
    kind: Kind
    help: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts of the name that are filled in."""
        return tuple(re.findall(r"\{(\w+)\}", self.name))


@dataclass(frozen=True, slots=True)
class Sample:
    """A number that was read. `labels` are the values of the metric's labels, in order, as received."""

    metric: Metric
    labels: tuple[str, ...]
    value: Number

    @property
    def name(self) -> str:
        """The name in the file."""
        return self.metric.name.format_map(
            {label: part(said) for label, said in zip(self.metric.labels, self.labels, strict=True)}
        )


def _counter(name: str, scraped: str, words: str) -> Metric:
    return Metric(name, scraped, Kind.COUNTER, words)


def _gauge(name: str, scraped: str, words: str) -> Metric:
    return Metric(name, scraped, Kind.GAUGE, words)


FETCHED: Final = _counter("{operation}.total_fetched", "tmatic_records_fetched", "Records of pages that were accepted.")
INCLUDED: Final = _counter(
    "{operation}.total_included", "tmatic_records_included", "Records of jobs that are done; accounts, for analyzer."
)
ONGOING: Final = _gauge("stats.worker.ongoing.{operation}", "tmatic_jobs_ongoing", "Jobs that workers hold.")
COMPLETED: Final = _counter("stats.worker.completed.{operation}", "tmatic_jobs_completed", "Jobs that are done.")
OPS: Final = _counter(
    "stats.ops.{operation}.{worker}", "tmatic_worker_records", "Records of each job, when it is done."
)
PAGES: Final = _counter("stats.pages.{operation}", "tmatic_pages", "Pages that were accepted.")
WAITING: Final = _gauge("stats.frontier.waiting.{operation}", "tmatic_jobs_waiting", "Jobs that wait.")
PARKED: Final = _gauge(
    "stats.frontier.parked.{operation}", "tmatic_jobs_parked", "Jobs that were begun and wait for a budget."
)
RESTING: Final = _gauge("stats.frontier.resting", "tmatic_jobs_resting", "Jobs that failed and are tried again later.")
COLLECTED: Final = _gauge("stats.frontier.collected", "tmatic_accounts_collected", "Accounts in the frontier list.")
DEAD: Final = _gauge("stats.jobs.dead.{operation}", "tmatic_jobs_dead", "Jobs that were given up.")
FAILED: Final = _counter("stats.jobs.failed.{operation}", "tmatic_tries_failed", "Tries that failed.")
ACCOUNTS: Final = _counter("stats.accounts", "tmatic_accounts", "Accounts that the crawl knows.")
RATE: Final = _gauge("stats.rate.{what}", "tmatic_rate", "Pages, records and jobs a second.")
WORKERS: Final = _gauge("stats.workers.connected", "tmatic_workers_connected", "Workers that are there.")
ACTIVE: Final = _gauge("stats.workers.active", "tmatic_workers_active", "Workers that hold a job.")
AVAILABLE: Final = _gauge(
    "stats.budget.{budget}.available", "tmatic_budget_available", "Requests that may be sent now."
)
LIMIT: Final = _gauge("stats.budget.{budget}.limit", "tmatic_budget_limit", "Requests of a whole window.")
OUTSTANDING: Final = _gauge(
    "stats.budget.{budget}.outstanding", "tmatic_budget_outstanding", "Requests that are granted and not accounted for."
)
RESETS_IN: Final = _gauge(
    "stats.budget.{budget}.resets_in", "tmatic_budget_resets_in_seconds", "Until it is full again."
)
EPOCH: Final = _gauge("stats.leader.epoch", "tmatic_leader_epoch", "The epoch of the master that leads.")
TAKEOVERS: Final = _counter("stats.leader.takeovers", "tmatic_takeovers", "How often the lead was taken anew.")
LAG: Final = _gauge("stats.lag.{subscriber}", "tmatic_lag_events", "Events that a subscriber has not passed yet.")

TABLE: Final = (
    *(FETCHED, INCLUDED, ONGOING, COMPLETED, OPS, PAGES, WAITING, PARKED, RESTING, COLLECTED, DEAD, FAILED, ACCOUNTS),
    *(RATE, WORKERS, ACTIVE, AVAILABLE, LIMIT, OUTSTANDING, RESETS_IN, EPOCH, TAKEOVERS, LAG),
)

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")
_HALF_AN_ESCAPE: Final = re.compile(f"{ESCAPE}.?$")


def part(said: str) -> str:
    """Escape a text as one part of a Graphite name: `.` separates parts there, and other characters are special to it
    or to the file system. Letters, digits, `_` and `-` stay; each byte of anything else, `~` too, becomes `~` and two
    hexadecimal digits: `worker.1` is `worker~2E1`, and `worker_1` itself. The empty text is `~`. So names stay
    distinct, and `unquote(name.replace("~", "%"))` reverses it.

    A name that is too long is truncated, and ends in `~-` and a digest of the whole.
    """
    escaped = _UNFIT.sub(_escaped, said) or ESCAPE
    if len(escaped) <= MAX_PART_LENGTH:
        return escaped
    kept = _HALF_AN_ESCAPE.sub("", escaped[: MAX_PART_LENGTH - DIGEST_DIGITS - 2])
    return f"{kept}{ESCAPE}-{digest(said)}"


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"{ESCAPE}{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def digest(said: str) -> str:
    """The digest that distinguishes a long name from others with the same beginning."""
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def shown(value: Number) -> str:
    """A number as written to the file: integers without a fraction, others in the shortest exact form."""
    return repr(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)


def samples(document: Mapping[str, Any]) -> Iterator[Sample]:
    """The numbers in a master's status document. Values that are missing, or not a number, are left out."""
    operations = _map(document.get("operations"))
    totals = _map(document.get("totals"))
    for operation in (words.name for words in OPERATIONS.values()):
        said = _map(operations.get(operation))
        for metric, key in _BY_OPERATION:
            yield from _sample(metric, (operation,), said.get(key))
        yield from _sample(PAGES, (operation,), said.get("pages"))
    for metric, key in ((RESTING, "resting"), (COLLECTED, "collected"), (ACCOUNTS, "accounts")):
        yield from _sample(metric, (), document.get(key))
    yield from _sample(INCLUDED, (OPERATIONS[Operation.ANALYSE].name,), totals.get("discovered", 0))
    for what in ("pages", "records", "jobs"):
        yield from _sample(RATE, (what,), _map(document.get("rates")).get(what))
    workers = document.get("workers")
    if isinstance(workers, list):
        yield Sample(WORKERS, (), len(workers))
        yield Sample(ACTIVE, (), sum(bool(_map(worker).get("jobs")) for worker in workers))
    budgets = _map(document.get("budgets"))
    for key in sorted(budgets)[:MAX_BUDGETS]:
        for metric, name in _BY_BUDGET:
            yield from _sample(metric, (key,), _map(budgets[key]).get(name))
    readers = document.get("consumers")
    for reader in readers[:MAX_SUBSCRIBERS] if isinstance(readers, list) else ():
        yield from _sample(LAG, (str(_map(reader).get("name")),), _map(reader).get("lag"))
    yield from _sample(EPOCH, (), _map(document.get("leader")).get("epoch"))


_BY_OPERATION: Final = (
    (FETCHED, "records"),
    (ONGOING, "ongoing"),
    (COMPLETED, "completed"),
    (WAITING, "waiting"),
    (PARKED, "parked"),
    (DEAD, "dead"),
)
_BY_BUDGET: Final = (
    (AVAILABLE, "available"),
    (LIMIT, "limit"),
    (OUTSTANDING, "outstanding"),
    (RESETS_IN, "resets_in_s"),
)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sample(metric: Metric, labels: tuple[str, ...], value: object) -> Iterator[Sample]:
    if isinstance(value, int | float) and not isinstance(value, bool) and -MAX_NUMBER < value < MAX_NUMBER:
        yield Sample(metric, labels, value)
