"""A job: one operation on one account, and its progress.

At most one job is live per (operation, account). A job carries the operations that follow it on the same account
(`chain`), so that no process needs the flags of the crawl to know what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final


class Operation(Enum):
    """The operations on an account. The values are the letters of the original."""

    TIMELINE = "T"
    FOLLOWER = "F"
    ANALYSE = "A"
    UPDATE = "U"


@dataclass(frozen=True, slots=True)
class OperationWords:
    """The names of an operation: `name` is the original's word for it, `topic` the first part of the topics of its
    events, `ending` the extension of the file that it writes."""

    name: str
    topic: str
    ending: str


OPERATIONS: Final = {
    Operation.TIMELINE: OperationWords("timeline", "timeline", ".twt"),
    Operation.FOLLOWER: OperationWords("follower", "followers", ".fws"),
    Operation.ANALYSE: OperationWords("analyzer", "user", ".inf"),
    Operation.UPDATE: OperationWords("update", "timeline", ".twt"),
}
"""All operations, in the order of their numbers in the ledger's records, which is also the display order."""

CHAIN_ORDER = (Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE)
"""The order of the operations on one account. `UPDATE` stands alone."""


class Outcome(Enum):
    """How a job ended. All but `COMPLETE` leave a receipt that says why there are no more records."""

    COMPLETE = "complete"
    PROTECTED = "protected"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    NO_LIST = "no-list"
    CURSOR_STUCK = "cursor-stuck"


@dataclass(frozen=True, slots=True)
class Segment:
    """The pages that one lease stored, as far as the ledger accepted them.

    `token` names the lease; `length` is in bytes: data beyond it were never acknowledged.
    """

    token: str
    length: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job. All numbers are totals since the job began, over all its leases.

    `steps` counts the accepted steps (each page, and the end, is one); `count` the records received;
    `tries` counts failures and `lapses` lapsed leases, both since the last accepted step;
    `cursor` is the source's cursor for the next page, empty for the beginning.
    """

    steps: int = 0
    count: int = 0
    tries: int = 0
    lapses: int = 0
    cursor: str = ""
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One operation on one account. `parent` is the account that led to it, empty for a target."""

    operation: Operation
    user: str
    depth: int = 0
    parent: str = ""
    chain: tuple[Operation, ...] = ()
    progress: Progress = field(default_factory=Progress)

    def advanced(self, *, count: int, cursor: str, segments: tuple[Segment, ...]) -> Job:
        """The job one accepted step later."""
        return replace(self, progress=Progress(self.progress.steps + 1, count, 0, 0, cursor, segments))

    def failed(self) -> Job:
        """The job after one more failed try, at the same position."""
        return replace(self, progress=replace(self.progress, tries=self.progress.tries + 1))

    def lapsed(self) -> Job:
        """The job after one more lapsed lease."""
        return replace(self, progress=replace(self.progress, lapses=self.progress.lapses + 1))

    def restarted(self) -> Job:
        """The job restarted from its beginning, when its stored pages are lost. Its steps continue, since the ledger
        accepts none twice; its count restarts."""
        return replace(self, progress=replace(self.progress, count=0, cursor="", segments=()))

    def following(self) -> Job | None:
        """The next job of the chain on the same account, or None at its end."""
        if not self.chain:
            return None
        return Job(self.chain[0], self.user, self.depth, self.parent, self.chain[1:])
