"""What messages are made of: the records in their lists, and the words of closed sets. Their order of fields is that of
the wire; fields added later come at the end."""

from __future__ import annotations

from typing import Any, NamedTuple


class Spent(NamedTuple):
    """A token in hand. Numbers of requests since the lease began; `idle_ms` since its last progress.

    A request is spent when its answer is in the budgets of the same message, or it was given up; not while it is
    under way.
    """

    token: str
    granted: int
    spent: int
    idle_ms: int


class BudgetReport(NamedTuple):
    """What a service said of a budget. A `limit` of -1: it said nothing, and counts nothing that we can see.

    `window` is the reset time as the service wrote it, the name of the window, or 0 where the budget rests: `remaining`
    is `RESTS_FOR_RATE` or `RESTS_AS_ASKED` then;
    `reset_in_ms` is how long from the sending of this message until then, by the worker's monotonic clock, 0 when it is
    over. `unanswered` are the requests of this run of the worker that were sent and got no answer, `counted` those
    among them that are in `remaining` by now.
    """

    who: str
    endpoint: str
    limit: int
    remaining: int
    window: int
    reset_in_ms: int
    unanswered: int = 0
    counted: int = 0


RESTS_FOR_RATE, RESTS_AS_ASKED = 0, 1
"""Why a budget rests: the service counts, and refused a request for its rate; or it only said when to come back."""


class Caller(NamedTuple):
    """Who the service will count when the worker calls the endpoint of an operation."""

    operation: str
    who: str
    endpoint: str


class Step(NamedTuple):
    """A page that is stored. `step` and `records` (received) are absolute over all leases of the job; `length` is that
    of the segment. `payload` is the page for those who listen, as gzip; it may be left out."""

    token: str
    step: int
    records: int
    cursor: str
    length: int
    found: list[str]
    spent: int
    payload: bytes = b""


class End(NamedTuple):
    """How a lease ended. `how` is one of `ENDS`; `outcome` a value of `Outcome` when done; `words` an error's;
    `payload` the last page, as in a step; `stored` is 1 when it is in the dataset, with a receipt, and 0 from a worker
    that stores nothing."""

    token: str
    how: str
    step: int
    records: int
    outcome: str
    found: list[str]
    spent: int
    words: str
    payload: bytes = b""
    stored: int = 0


DONE, LIMITED, FAILED, LOST = "done", "limited", "failed", "lost"
ENDS = frozenset((DONE, LIMITED, FAILED, LOST))
"""done: stored, with its receipt. limited: the grant is empty. failed: the try is. lost: a segment is gone."""


class Assignment(NamedTuple):
    """A job with its token. `segments` are [token, length] pairs; `granted` requests may be spent as `who`."""

    token: str
    operation: str
    user: str
    depth: int
    steps: int
    records: int
    cursor: str
    segments: list[list[Any]]
    who: str
    granted: int


class Verdict(NamedTuple):
    """What became of a step or an end. `status`: `ACCEPTED` or `STALE`; `granted`: the requests granted so far."""

    token: str
    step: int
    status: int
    granted: int


STALE, ACCEPTED = 0, 1


class Entry(NamedTuple):
    """An announcement, as it lies in the log."""

    sequence: int
    previous: int
    topic: str
    body: bytes
