"""The unfinished part of a crawl: its open jobs and its dead letters, as the ledger holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from master.frontier.traversal import COLLECTED, front_of
from protocol.jobs import Job, Operation
from storage.ledger.job_codec import unpack_job
from storage.ledger.ledger import Ledger

Key = tuple[Operation, str]


def open_jobs(ledger: Ledger, operation: Operation | None = None) -> Iterator[Job]:
    """Every job that waits, is leased, or rests; of the waiting ones, only one operation's if it is named."""
    for name in ledger.queue_names():
        if name != COLLECTED and (operation is None or name in (operation.value, front_of(operation))):
            yield from map(unpack_job, ledger.queue(name))
    yield from (lease.job for lease in ledger.held().values())
    yield from ledger.retry().values()


def worth(job: Job) -> tuple[int, int]:
    """What is lost with a copy of a job: the operations after it, then its progress."""
    return len(job.chain), job.progress.steps


@dataclass(slots=True)
class LiveJobs:
    """The unfinished jobs, by (operation, account). `dropped` are letters that were discarded for good; `twins` counts
    the surplus copies of live jobs: `jobs` has the copy that is worth most."""

    jobs: dict[Key, Job] = field(default_factory=dict)
    to_come: set[Key] = field(default_factory=set)
    dead: dict[Key, Job] = field(default_factory=dict)
    dropped: dict[Key, Job] = field(default_factory=dict)
    twins: Counter[Key] = field(default_factory=Counter)

    @classmethod
    def read(cls, ledger: Ledger) -> LiveJobs:
        """Read all of it. Raises LedgerError."""
        live = cls()
        for job in open_jobs(ledger):
            live._add(job)
        live.to_come = {(later, job.user) for job in live.jobs.values() for later in job.chain}
        live.dead = {(job.operation, job.user): job for job, _ in ledger.dead()}
        live.dropped = {(job.operation, job.user): job for job, _ in ledger.dropped()}
        return live

    def __contains__(self, key: Key) -> bool:
        return key in self.jobs or key in self.to_come or key in self.dead or key in self.dropped

    def makes_anew(self, key: Key) -> bool:
        """Whether a live job will create the whole file where there is none. A letter creates nothing, and an update
        that found stored posts fetches only newer ones."""
        job = self.jobs.get(key)
        if job is None or job.operation is not Operation.UPDATE:
            return job is not None or key in self.to_come
        return not job.progress.cursor.partition(" ")[0]

    def _add(self, job: Job) -> None:
        key = (job.operation, job.user)
        self.twins[key] += key in self.jobs
        self.jobs[key] = max(self.jobs.get(key, job), job, key=worth)
