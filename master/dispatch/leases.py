"""The life of a lease, as the leader sees it: what happened to it, and what is done about it. No clock, no I/O.

`TABLE` is the whole of it: state and event give the next state and an act. The diagram in `docs/architecture.md` is
drawn from it, and the property tests walk it. Whether its worker is heard is another matter: a new leader knows each
lease from the ledger, and its holder once a worker lists it. A lease lapses (Gray and Cheriton, 1989) when its
worker is silent, does not list it or makes no progress; after a takeover also when nobody lists it in the grace period.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.jobs import Job
from protocol.messages import Assignment


class LeaseState(Enum):
    """Where a lease is."""

    HELD = "handed out"
    STEPPING = "a page is being committed"
    ENDING = "its end is being committed"
    OVER = "over"


class LeaseEvent(Enum):
    """What happened to it."""

    PAGE = "the worker reports the next page"
    END = "the worker reports the end, or an allowance that is spent"
    FAILURE = "the worker reports a failed try, or lost segments"
    LAPSED = "it lapsed, or its worker left"
    GAP = "a step is missing"
    PAGE_ANSWERED = "the ledger answered the page"
    END_COMMITTED = "the end is committed"


class LeaseAct(Enum):
    """What is to be done about it."""

    IGNORE = "ignore it: it is sent again if it is meant"
    COMMIT = "commit it"
    PUT_BACK = "put the job back in its queue"
    ANSWER = "answer the worker"
    CLOSE = "settle what was granted"


TABLE: dict[tuple[LeaseState, LeaseEvent], tuple[LeaseState, LeaseAct]] = {
    (LeaseState.HELD, LeaseEvent.PAGE): (LeaseState.STEPPING, LeaseAct.COMMIT),
    (LeaseState.HELD, LeaseEvent.END): (LeaseState.ENDING, LeaseAct.COMMIT),
    (LeaseState.HELD, LeaseEvent.FAILURE): (LeaseState.ENDING, LeaseAct.COMMIT),
    (LeaseState.HELD, LeaseEvent.LAPSED): (LeaseState.ENDING, LeaseAct.PUT_BACK),
    (LeaseState.HELD, LeaseEvent.GAP): (LeaseState.ENDING, LeaseAct.PUT_BACK),
    (LeaseState.STEPPING, LeaseEvent.PAGE): (LeaseState.STEPPING, LeaseAct.IGNORE),
    (LeaseState.STEPPING, LeaseEvent.END): (LeaseState.ENDING, LeaseAct.COMMIT),
    (LeaseState.STEPPING, LeaseEvent.FAILURE): (LeaseState.STEPPING, LeaseAct.IGNORE),
    (LeaseState.STEPPING, LeaseEvent.LAPSED): (LeaseState.ENDING, LeaseAct.PUT_BACK),
    (LeaseState.STEPPING, LeaseEvent.GAP): (LeaseState.ENDING, LeaseAct.PUT_BACK),
    (LeaseState.STEPPING, LeaseEvent.PAGE_ANSWERED): (LeaseState.HELD, LeaseAct.ANSWER),
    (LeaseState.ENDING, LeaseEvent.PAGE): (LeaseState.ENDING, LeaseAct.IGNORE),
    (LeaseState.ENDING, LeaseEvent.END): (LeaseState.ENDING, LeaseAct.IGNORE),
    (LeaseState.ENDING, LeaseEvent.FAILURE): (LeaseState.ENDING, LeaseAct.IGNORE),
    (LeaseState.ENDING, LeaseEvent.LAPSED): (LeaseState.ENDING, LeaseAct.IGNORE),
    (LeaseState.ENDING, LeaseEvent.GAP): (LeaseState.ENDING, LeaseAct.PUT_BACK),
    (LeaseState.ENDING, LeaseEvent.PAGE_ANSWERED): (LeaseState.ENDING, LeaseAct.ANSWER),
    (LeaseState.ENDING, LeaseEvent.END_COMMITTED): (LeaseState.OVER, LeaseAct.CLOSE),
}
"""Every pair that can come up. An end may be reported while a page is being committed, and follows it."""


@dataclass(slots=True)
class Lease:
    """A lease as the leader sees it. `peer` is None while nobody has listed it since the lead was taken; `sent_at` is
    when the job was last sent, `moved_at` when it last got on, in seconds."""

    token: str
    job: Job
    worker: str
    budget: str
    granted: int
    spent: int = 0
    peer: bytes | None = None
    sent_at: float = 0.0
    moved_at: float = 0.0
    state: LeaseState = LeaseState.HELD

    def happened(self, event: LeaseEvent) -> LeaseAct:
        """Go on to the next state; returns what is to be done."""
        self.state, act = TABLE[self.state, event]
        return act

    @property
    def ending(self) -> bool:
        """Whether its end is on its way into the ledger."""
        return self.state is LeaseState.ENDING

    def spend(self, spent: int) -> int:
        """Record the worker's total of spent requests; returns by how much it exceeds the known one."""
        more = max(0, min(spent, self.granted) - self.spent)
        self.spent += more
        return more


def assignment(lease: Lease) -> Assignment:
    """The job as it is sent to its worker."""
    done = lease.job.progress
    return Assignment(
        lease.token,
        lease.job.operation.value,
        lease.job.user,
        lease.job.depth,
        done.steps,
        done.count,
        done.cursor,
        [[segment.token, segment.length] for segment in done.segments],
        lease.budget.split(" ")[1],
        lease.granted,
    )
