"""The order of the crawl: what is done with discoveries, and in which queue a job waits. No clock, no I/O.

default   discoveries are collected for the frontier file; nothing is followed
BFS       discoveries wait at the tail; with a depth limit, the analyses of one level wait until every analysis of
          the level before has ended: else an account discovered first by a longer path is lost to the limit
DFS       discoveries, and the next step of an account, wait at the head; depth is that of the discovering path
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from protocol.jobs import CHAIN_ORDER, Job, Operation
from storage.ledger.job_codec import MAX_DEPTH, pack_job
from storage.ledger.transitions import Discoveries, NewJob

COLLECTED = "collected"


class Traversing(Enum):
    """How the graph is traversed."""

    DEFAULT = "default"
    BFS = "BFS"
    DFS = "DFS"


@dataclass(frozen=True, slots=True)
class Traversal:
    """The order of a crawl. Accounts less than `depth` steps from a target are crawled; 0 means no limit."""

    operations: tuple[Operation, ...]
    traversing: Traversing = Traversing.DEFAULT
    depth: int = 0

    @property
    def levelled(self) -> bool:
        """Whether the analyses run level by level."""
        return self.traversing is Traversing.BFS and self.depth > 0 and Operation.ANALYSE in self.operations

    @property
    def front(self) -> bool:
        """Whether new jobs wait at the head of their queue."""
        return self.traversing is Traversing.DFS

    def first_job(self, user: str, depth: int = 0, parent: str = "") -> Job:
        """The first job of an account's chain."""
        chain = tuple(operation for operation in CHAIN_ORDER if operation in self.operations)
        if not chain:
            return Job(Operation.UPDATE, user, depth, parent)
        return Job(chain[0], user, depth, parent, chain[1:])

    def queue(self, job: Job) -> str:
        """The queue of a job that was not started."""
        if self.levelled and job.operation is Operation.ANALYSE:
            return f"A{job.depth}"
        return job.operation.value

    def level(self, job: Job) -> str:
        """The level that waits for the analysis of this job's account, or ""."""
        if self.levelled and (job.operation is Operation.ANALYSE or Operation.ANALYSE in job.chain):
            return str(job.depth)
        return ""

    def discoveries(self, job: Job, found: Iterable[str]) -> Discoveries | None:
        """What the commit does with the accounts that a page led to, as an argument of the ledger's script."""
        accounts = list(found)
        if not accounts:
            return None
        if self.traversing is Traversing.DEFAULT:
            return Discoveries("", front=False, level="", accounts=accounts, records=[])
        if self.depth and job.depth + 1 >= self.depth:
            return None
        depth = min(job.depth + 1, MAX_DEPTH)  # a path in DFS may be longer than a record can hold
        sample = self.first_job(accounts[0], depth, job.user)
        records = [pack_job(self.first_job(account, depth, job.user)) for account in accounts]
        return Discoveries(self.queue(sample), self.front, self.level(sample), accounts, records)

    def new_job(self, job: Job, id: str = "") -> NewJob:
        """A new job, under its account or another id."""
        return NewJob(id or job.user, self.queue(job), pack_job(job), self.level(job))

    def queues(self, levels: Mapping[int, int]) -> list[str]:
        """Every queue in which a job may wait. `levels` has the accounts of each that still await analysis."""
        names = [front_of(operation) for operation in Operation] + [operation.value for operation in Operation]
        if self.traversing is Traversing.DEFAULT:
            names.append(COLLECTED)
        if self.levelled:
            names += [f"A{level}" for level in sorted(levels) if levels[level] > 0]
        return names

    def sources(self, operation: Operation, levels: Mapping[int, int]) -> list[str]:
        """The queues from which jobs of an operation may be assigned at present, in order."""
        queues = [front_of(operation)]
        if self.levelled and operation is Operation.ANALYSE:
            waiting = [level for level, accounts in levels.items() if accounts > 0]
            return [*queues, f"A{min(waiting)}"] if waiting else queues
        return [*queues, operation.value]


def front_of(operation: Operation) -> str:
    """The queue of the returned jobs of an operation: they precede all others."""
    return f"front:{operation.value}"
