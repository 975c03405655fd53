"""The transitions of the ledger: the operations of `ledger.lua`, one class for each.

A transition is sent to the script as an array: its kind, then its fields in the order of their definition. The handler
of that kind unpacks them under the same names. Parts of a transition are named tuples, and sent as arrays too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple


class LogEntry(NamedTuple):
    """An announcement in the log. The body is msgpack."""

    topic: str
    body: bytes


class Discoveries(NamedTuple):
    """Accounts that a page led to, and the job record of each. New ones wait in `queue`, at its head if `front`;
    `level` is the one that waits for their analysis, or "". Without a queue, the ids are collected for the frontier
    file, and there are no records."""

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
    """The set of accounts whose operation left no receipt, and whether this account is in it (`in_it`)."""

    set_name: str
    account: str
    in_it: bool


class NewJob(NamedTuple):
    """A job for an account, or under another id that distinguishes it from others."""

    id: str
    queue: str
    record: bytes
    level: str


class HandOut(NamedTuple):
    """Hand out jobs, at most so many, from these queues in their order. Its status is [token, record, …]."""

    queues: Sequence[str]
    most: int
    worker: str
    budget: str
    granted: int


class StorePage(NamedTuple):
    """One more page is stored. `records` is the job's count with it. AGAIN for a step that was accepted before, GAP for
    one that skips a step."""

    token: str
    step: int
    records: int
    record: bytes
    found: Discoveries | None
    entry: LogEntry | None
    budget: str
    granted: int


class Finish(NamedTuple):
    """The job is done, and its dataset is stored. `queue` and `record` are the job that follows, "" when none does;
    `level` waits for one account less. `analysis` is one that found no list, or that of a list without one.
    `receipt` is set for workers that store nothing, or may store nothing. AGAIN and GAP as for a page."""

    token: str
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


class Discover(NamedTuple):
    """Part of the discoveries of a step that is too large for one commit. AGAIN and GAP as for a page."""

    token: str
    step: int
    found: Discoveries | None = None


class PutBack(NamedTuple):
    """The job goes back to the head of a queue, as `record`, or as it is held when that is empty. To the tail after an
    outage, so that another one tries next, and if `last`."""

    token: str
    queue: str
    record: bytes
    reason: str
    last: bool = False


class Rest(NamedTuple):
    """The try failed; the job rests under `field`, "OP:account", until it is woken."""

    token: str
    field: str
    record: bytes
    entry: LogEntry


class GiveUp(NamedTuple):
    """The job is given up; the letter keeps all that it had. `queue` and `record` are the job that follows, "" when
    none does; `level` has one account less to wait for."""

    token: str
    field: str
    letter: bytes
    queue: str
    record: bytes
    front: bool
    level: str
    entry: LogEntry


class Forget(NamedTuple):
    """The lease of a job that is there twice is forgotten; no count changes."""

    token: str


class Wake(NamedTuple):
    """A resting job is due again. STALE when it does not rest."""

    field: str
    queue: str


class AddJobs(NamedTuple):
    """Jobs for accounts that the set does not hold yet. Its status is how many were new."""

    set_name: str
    front: bool
    jobs: Sequence[NewJob]


class AddAccounts(NamedTuple):
    """Accounts for a set: seeds, which are never discovered, or others that need no job. Its status is how many were
    new."""

    accounts: Sequence[str]
    set_name: str = "seeds"


class Announce(NamedTuple):
    """What is told of the crawl itself."""

    entry: LogEntry


class MoveReader(NamedTuple):
    """How far a reader of the log has come; -1 when it will read no more."""

    name: str
    last_read: int


class SettleLetter(NamedTuple):
    """A dead letter is tried again in `queue`, or put away for good when that is "". STALE when it is not `letter`.
    Of a follower list, `account` is the one whose analysis may have ended for want of it: then `chained`, which has the
    analysis in its chain, takes the place of `record`. `level` is the analysis's."""

    field: str
    letter: bytes
    queue: str
    record: bytes
    level: str
    entry: LogEntry
    account: str | None = None
    chained: bytes | None = None


class Correct(NamedTuple):
    """A count is set right: `by` is added to `name` in the hash `where`, "totals", "sets" or "levels"."""

    where: str
    name: str
    by: int


class TrimLog(NamedTuple):
    """The first so many entries of the log are let go."""

    most: int
    entry: LogEntry


class Remember(NamedTuple):
    """What the crawl remembers of itself."""

    name: str
    value: str


class EmptySet(NamedTuple):
    """A set that has served is emptied from the bucket `first` on, some buckets a commit. AGAIN when there are more."""

    set_name: str
    first: int
    buckets: int


LeaseTransition = StorePage | Finish | Discover | PutBack | Rest | GiveUp | Forget
"""The transitions of the lease with this token. STALE when it is not held."""
Announcing = StorePage | Finish | Rest | GiveUp | Announce | SettleLetter | TrimLog
"""The transitions that are announced in the log."""
Transition = (
    LeaseTransition
    | (HandOut | Wake | AddJobs | AddAccounts | Announce | MoveReader | SettleLetter)
    | (Correct | TrimLog | Remember | EmptySet)
)
"""What the script is asked to do. Its status is OK unless a class says otherwise."""

KINDS: Final[dict[type[Transition], str]] = {
    HandOut: "give",
    StorePage: "page",
    Finish: "done",
    Discover: "found",
    PutBack: "back",
    Rest: "rest",
    GiveUp: "dead",
    Forget: "forget",
    Wake: "wake",
    AddJobs: "jobs",
    AddAccounts: "known",
    Announce: "tell",
    MoveReader: "reader",
    SettleLetter: "letter",
    Correct: "correct",
    TrimLog: "trim",
    Remember: "keep",
    EmptySet: "empty",
}
"""What each is called in the script."""


def encoded(transition: Transition) -> tuple[Any, ...]:
    """A transition as the script takes it."""
    return (KINDS[type(transition)], *transition)
