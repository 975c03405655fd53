"""The audit: what was assigned, stored and announced, reconciled; the difference is zero, or it is named.

Read from the ledger and the dataset, not from any process's memory. Every account that the crawl knows owes each
operation of the plan exactly one of: a live job, a place later in a live job's chain, a dead letter, or a receipt.
Nothing of these is a loss; more than one live job, or a record that stands twice in a file, is a doubling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

from master.plan import SEEN, recall
from master.traversal import COLLECTED
from protocol.jobs import Job, Operation
from storage.dataset import RecordKind
from storage.files import FileDataset
from storage.ledger import Ledger
from storage.records import unpack_job

NAMED = 100
"""Findings of one kind that are named; the others are only counted."""

Key = tuple[Operation, str]
T = TypeVar("T")


@dataclass(slots=True)
class Audit:
    """The result. `lost` and `doubled` name what they count; `differences` are sums that should agree and do not."""

    accounts: int = 0
    live: int = 0
    dead: int = 0
    receipts: int = 0
    files: int = 0
    records: int = 0
    lost_count: int = 0
    doubled_count: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, nothing doubled, and every sum agrees."""
        return not (self.lost_count or self.doubled_count or self.differences)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "clean": self.clean}

    def lose(self, what: str) -> None:
        """Something is nowhere."""
        self.lost_count += 1
        if len(self.lost) < NAMED:
            self.lost.append(what)

    def double(self, what: str) -> None:
        """Something is there twice."""
        self.doubled_count += 1
        if len(self.doubled) < NAMED:
            self.doubled.append(what)

    def agree(self, what: str, one: int, other: int) -> None:
        """Two sums that must be equal."""
        if one != other:
            self.differences.append(f"{what}: {one} and {other}, a difference of {one - other}")


@dataclass(slots=True)
class _Live:
    """The jobs that are not over, by (operation, account)."""

    jobs: dict[Key, Job] = field(default_factory=dict)
    to_come: set[Key] = field(default_factory=set)
    dead: dict[Key, Job] = field(default_factory=dict)


def audit(
    ledger: Ledger, dataset: FileDataset, *, files: bool = True, progress: Callable[[str, int], None] | None = None
) -> Audit:
    """Reconcile a crawl that rests. `files` also counts every record of every file; `progress(what, how many)` is told
    every thousand. Raises LedgerError or DatasetError when something cannot be read."""
    told = progress or (lambda _what, _count: None)
    result = Audit()
    plan = recall(ledger.remembered())
    if plan is None:
        return result
    live = _live(ledger, result)
    totals = ledger.totals()
    receipts, received = _receipts(dataset, live, result, told)
    operations = plan.operations
    for account in _counted("accounts", ledger.accounts(SEEN), told):
        result.accounts += 1
        for operation in operations:
            if operation in plan.widening:
                continue
            _owed(result, live, receipts, (operation, account))
    if plan.round:
        for account in ledger.accounts(plan.round_family):
            _owed(result, live, receipts, (Operation.UPDATE, account))
    result.live, result.dead = len(live.jobs), len(live.dead)
    _sums(result, ledger, live, totals, received, operations)
    _log(result, ledger, totals)
    if files:
        _files(result, dataset, told)
    return result


def _live(ledger: Ledger, result: Audit) -> _Live:
    live = _Live()

    def add(job: Job) -> None:
        key = (job.operation, job.user)
        if key in live.jobs:
            result.double(f"job {job.operation.value} {job.user} is live twice")
        live.jobs[key] = job
        live.to_come.update((operation, job.user) for operation in job.chain)

    for name in ledger.queue_names():
        if name != COLLECTED:
            for record in ledger.queue(name):
                add(unpack_job(record))
    for lease in ledger.held().values():
        add(lease.job)
    for job in ledger.retry().values():
        add(job)
    for job, _ in ledger.dead():
        live.dead[job.operation, job.user] = job
    return live


def _receipts(
    dataset: FileDataset, live: _Live, result: Audit, told: Callable[[str, int], None]
) -> tuple[set[Key], Counter[Operation]]:
    """Who has a receipt for what, and how many records those say that came, of jobs that are over."""
    keys: set[Key] = set()
    received: Counter[Operation] = Counter()
    for receipt in _counted("receipts", dataset.receipts(), told):
        key = (receipt.operation, receipt.user)
        keys.add(key)
        if key not in live.jobs and key not in live.dead and key not in live.to_come:
            received[receipt.operation] += receipt.received
    result.receipts = len(keys)
    return keys, received


def _owed(result: Audit, live: _Live, receipts: set[Key], key: Key) -> None:
    if key not in live.jobs and key not in live.to_come and key not in live.dead and key not in receipts:
        result.lose(f"{key[0].value} {key[1]} has no job, no dead letter and no receipt")


def _sums(
    result: Audit,
    ledger: Ledger,
    live: _Live,
    totals: dict[str, int],
    received: Counter[Operation],
    operations: tuple[Operation, ...],
) -> None:
    """Assigned and stored: jobs and records as the ledger counted them, and as they can be counted now."""
    known = ledger.sizes().get(SEEN, (0, 0))[0]
    result.agree("accounts counted and listed", known, result.accounts)
    for operation in operations:
        letter = operation.value
        open_jobs = sum(key[0] is operation for key in live.jobs) + sum(key[0] is operation for key in live.to_come)
        ended = totals.get(f"{letter}.done", 0) + totals.get(f"{letter}.dead", 0)
        if operation not in _widening(ledger):
            result.agree(f"{letter} jobs owed by accounts, and ended or open", known, ended + open_jobs)
        in_hand = sum(
            job.progress.count
            for jobs in (live.jobs, live.dead)
            for (kind, _), job in jobs.items()
            if kind is operation
        )
        result.agree(
            f"{letter} records counted by the ledger, and told by receipts",
            totals.get(f"{letter}.records", 0) - in_hand,
            received[operation],
        )


def _widening(ledger: Ledger) -> tuple[Operation, ...]:
    plan = recall(ledger.remembered())
    return plan.widening if plan else ()


def _log(result: Audit, ledger: Ledger, totals: dict[str, int]) -> None:
    """Announced: as often as it was committed, without a gap."""
    done = sum(totals.get(f"{operation.value}.done", 0) for operation in Operation)
    result.agree("jobs ended, and announced", done, totals.get("announced.job.done", 0))
    dead = sum(totals.get(f"{operation.value}.dead", 0) for operation in Operation)
    result.agree("dead letters, and announced", dead, totals.get("announced.job.dead", 0))
    steps = sum(totals.get(f"{operation.value}.steps", 0) for operation in Operation)
    pages = sum(totals.get(f"announced.{topic}.page", 0) for topic in ("timeline", "followers", "user"))
    result.agree("pages committed, and announced", steps, pages)
    entries = ledger.log()
    for before, after in pairwise(entries):
        if after[0] != before[0] + 1:
            result.differences.append(f"the log jumps from {before[0]} to {after[0]}")
    if entries:
        result.agree("last announcement, and the log's head", entries[-1][0], ledger.heads().get("", 0))


def _files(result: Audit, dataset: FileDataset, told: Callable[[str, int], None]) -> None:
    """Stored: every record of every file once, and as many as its receipt says."""
    for record in _counted("files", dataset.records(), told):
        if record.file is None:
            continue
        result.files += 1
        counts = dataset.scan_counts(record.user, RecordKind(f".{record.kind}"))
        result.records += counts.records
        if counts.distinct != counts.records:
            result.double(f"{record.file.name} has {counts.records - counts.distinct} records twice")
        if counts.records < record.file.records:
            result.lose(f"{record.file.name} has {counts.records} records, its receipt says {record.file.records}")
        elif counts.records > record.file.records:
            result.double(f"{record.file.name} has {counts.records} records, its receipt says {record.file.records}")


def _counted(what: str, items: Iterator[T], told: Callable[[str, int], None]) -> Iterator[T]:
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if number % 1000 == 0:
            told(what, number)
    told(what, number)
