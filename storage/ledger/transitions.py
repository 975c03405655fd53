"""The transitions of the ledger: what `ledger.lua` can be asked to do, one class for each.

A transition goes to the script as an array: its kind, then its fields in the order in which they stand here. The
handler of that kind unpacks them under the same names. Parts of a transition are named tuples, and go as arrays too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple


class LogEntry(NamedTuple):
    """What is announced in the log. The body is msgpack."""

    topic: str
    body: bytes


class Discoveries(NamedTuple):
    """Accounts that a page led to, and the record of the job of each. Those that are new wait in `queue`, at its head
    if `front`; `level` is the one that waits for their analysis, or "". Without a queue, ids are collected for the
    frontier file, and there are no records."""

    queue: str
    front: bool
    level: str
    accounts: Sequence[str]
    records: Sequence[bytes]


class Analysis(NamedTuple):
    """The analysis of an account, to be queued again."""

    account: str
    queue: str
    record: bytes
    front: bool
    level: str


class WithoutReceipt(NamedTuple):
    """The set of accounts whose operation left no receipt, and whether this account is `in_it`."""

    set_name: str
    account: str
    in_it: bool


class NewJob(NamedTuple):
    """A job for an account, or under another id that tells it from others."""

    id: str
    queue: str
    record: bytes
    level: str


@dataclass(frozen=True, slots=True)
class Transition:
    """What the script is asked to do. Its status is OK unless a class says otherwise."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True)
class LeaseTransition(Transition):
    """A transition of the lease with this token. STALE when it is not held."""

    token: str


@dataclass(frozen=True, slots=True)
class HandOut(Transition):
    """Hand out jobs, at most so many, from these queues in their order. Its status is [token, record, …]."""

    kind = "give"
    queues: Sequence[str]
    most: int
    worker: str
    budget: str
    granted: int


@dataclass(frozen=True, slots=True)
class StorePage(LeaseTransition):
    """One more page is stored. `records` is the job's count with it. AGAIN for a step that was accepted before, GAP for
    one that skips a step."""

    kind = "page"
    step: int
    records: int
    record: bytes
    found: Discoveries | None
    entry: LogEntry | None
    budget: str
    granted: int


@dataclass(frozen=True, slots=True)
class Finish(LeaseTransition):
    """The job is done, and its dataset is stored. `queue` and `record` are the job that follows, "" when none does;
    `level` has one account less to wait for. `analysis` is one that found no list, or that of a list without one.
    `receipt` is given for workers that store nothing, or may. AGAIN and GAP as for a page."""

    kind = "done"
    step: int
    records: int
    outcome: str
    queue: str = ""
    record: bytes = b""
    front: bool = False
    level: str = ""
    found: Discoveries | None = None
    entry: LogEntry | None = None
    analysis: Analysis | None = None
    receipt: WithoutReceipt | None = None


@dataclass(frozen=True, slots=True)
class Discover(LeaseTransition):
    """Part of the discoveries of a step that is too large for one commit. AGAIN and GAP as for a page."""

    kind = "found"
    step: int
    found: Discoveries | None = None


@dataclass(frozen=True, slots=True)
class PutBack(LeaseTransition):
    """The job goes back to the head of a queue, as `record`, or as it is held when that is empty. To the tail after an
    outage, so that another one tries next, and if `last`."""

    kind = "back"
    queue: str
    record: bytes
    reason: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class Rest(LeaseTransition):
    """The try failed; the job rests under `field`, "OP:account", until it is woken."""

    kind = "rest"
    field: str
    record: bytes
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class GiveUp(LeaseTransition):
    """The job is given up; the letter keeps all that it had. `queue` and `record` are the job that follows, "" when
    none does; `level` has one account less to wait for."""

    kind = "dead"
    field: str
    letter: bytes
    queue: str
    record: bytes
    front: bool
    level: str
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Forget(LeaseTransition):
    """The lease of a job that is there twice is forgotten; no count changes."""

    kind = "forget"


@dataclass(frozen=True, slots=True)
class Wake(Transition):
    """A resting job is due again. STALE when it does not rest."""

    kind = "wake"
    field: str
    queue: str


@dataclass(frozen=True, slots=True)
class AddJobs(Transition):
    """Jobs for accounts that the set does not hold yet. Its status is how many were new."""

    kind = "jobs"
    set_name: str
    front: bool
    jobs: Sequence[NewJob]


@dataclass(frozen=True, slots=True)
class AddAccounts(Transition):
    """Accounts for a set: seeds, which are never discovered, or others that need no job. Its status is how many were
    new."""

    kind = "known"
    accounts: Sequence[str]
    set_name: str = "seeds"


@dataclass(frozen=True, slots=True)
class Announce(Transition):
    """What is told of the crawl itself."""

    kind = "tell"
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class MoveReader(Transition):
    """How far a reader of the log has come; -1 when it will read no more."""

    kind = "reader"
    name: str
    last_read: int


@dataclass(frozen=True, slots=True)
class SettleLetter(Transition):
    """A dead letter is tried again in `queue`, or put away for good when that is "". STALE when it is not `letter`.
    Of a follower list, `account` is the one whose analysis may have ended for want of it: then `chained`, which has the
    analysis in its chain, takes the place of `record`. `level` is the analysis's."""

    kind = "letter"
    field: str
    letter: bytes
    queue: str
    record: bytes
    level: str
    entry: LogEntry
    account: str | None = None
    chained: bytes | None = None


@dataclass(frozen=True, slots=True)
class Correct(Transition):
    """A count is set right: `by` is added to `name` in the hash `where`, "totals", "sets" or "levels"."""

    kind = "correct"
    where: str
    name: str
    by: int


@dataclass(frozen=True, slots=True)
class TrimLog(Transition):
    """The first so many entries of the log are let go."""

    kind = "trim"
    most: int
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Remember(Transition):
    """What the crawl remembers of itself."""

    kind = "keep"
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class EmptySet(Transition):
    """A set that has served is emptied from the bucket `first` on, some buckets a commit. AGAIN when there are more."""

    kind = "empty"
    set_name: str
    first: int
    buckets: int


Announcing = StorePage | Finish | Rest | GiveUp | Announce | SettleLetter | TrimLog
"""The transitions that are announced in the log."""

KINDS: tuple[type[Transition], ...] = (
    *(HandOut, StorePage, Finish, Discover, PutBack, Rest, GiveUp, Forget, Wake, AddJobs, AddAccounts, Announce),
    *(MoveReader, SettleLetter, Correct, TrimLog, Remember, EmptySet),
)
_VALUES: dict[type[Transition], Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter("kind", *(field.name for field in fields(kind))) for kind in KINDS
}


def encoded(transition: Transition) -> tuple[Any, ...]:
    """A transition as the script takes it."""
    return _VALUES[type(transition)](transition)
