"""The audit: what was assigned, stored and announced, reconciled; the difference is zero, or it is named.

Read from the ledger and the dataset, not from any process's memory. Every account that the crawl knows owes each
operation of the plan exactly one of: a live job, a place later in a live job's chain, a dead letter, or a receipt.
Nothing of these is a loss; more than one live job, or a record that stands twice in a file, is a doubling. What a
worker ended that stores nothing owes no receipt, which the ledger knows of each account: so a crawl may have workers of
both kinds, and what the storing ones lose is named all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, TypeVar

from master.plan import SEEN, recall
from master.questions import Ending
from master.transitions import without_receipt
from master.traversal import COLLECTED
from protocol.errors import DatasetError, MalformedError
from protocol.jobs import Job, Operation
from storage.dataset import RecordKind, record_id
from storage.files import FileDataset
from storage.ledger import Ledger
from storage.receipts import Receipt
from storage.records import unpack_job

LOG_AT_ONCE = 5000
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
    stored: int = 0
    """What accounts owe and a receipt tells of; `receipts` counts those of other crawls in the directory as well."""
    files: int = 0
    records: int = 0
    lost_count: int = 0
    doubled_count: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: list[Key] = field(default_factory=list)
    """What is nowhere: an operation that an account owes, without job, dead letter or receipt."""
    unstored: int = 0
    """Jobs that ended at a worker that stores nothing: they owe no receipt, and there is nothing to repair."""
    stranded: int = 0
    """Jobs that are open though the crawl ended: nobody will come for them."""

    @property
    def stores_nothing(self) -> bool:
        """Whether no job of this crawl left a receipt, since no worker of it stores anything."""
        return self.unstored > 0 and self.stored == 0

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, nothing doubled, and every sum agrees."""
        return not (self.lost_count or self.doubled_count or self.differences)

    def document(self) -> dict[str, Any]:
        """For machines."""
        shown = asdict(self)
        del shown["missing"]  # `lost` names them, and counts what else is lost
        return {**shown, "stores_nothing": self.stores_nothing, "clean": self.clean}

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


@dataclass(slots=True)
class _Receipts:
    """Who has a receipt for what. `received` sums what those of this crawl say that came, of accounts that owe it;
    `others` counts accounts whose receipt a later crawl in the same directory replaced: no sum can be made then."""

    crawl: str
    counted: int = 0
    received: Counter[Operation] = field(default_factory=Counter)
    others: Counter[Operation] = field(default_factory=Counter)
    _by_key: dict[Key, tuple[bool, int]] = field(default_factory=dict)

    def add(self, receipt: Receipt) -> None:
        """One receipt of the dataset."""
        self.counted += 1
        self._by_key[receipt.operation, receipt.user] = receipt.crawl == self.crawl, receipt.received

    def count(self, key: Key) -> bool:
        """Whether there is one; it is counted."""
        found = self._by_key.get(key)
        if found is None:
            return False
        ours, received = found
        if ours:
            self.received[key[0]] += received
        else:
            self.others[key[0]] += 1
        return True


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
    over = _is_over(ledger)
    live = _live(ledger, result)
    totals = ledger.totals()
    told_by = _Receipts(ledger.crawl)
    unstored = {(one, account) for one in Operation for account in ledger.accounts(without_receipt(one))}
    for receipt in _counted("receipts", dataset.receipts(), told):
        told_by.add(receipt)
    operations = plan.operations
    for account in _counted("accounts", ledger.accounts(SEEN), told):
        result.accounts += 1
        for operation in operations:
            if operation in plan.widening:
                continue
            _owed(result, live, told_by, unstored, (operation, account))
    if plan.round:
        for account in ledger.accounts(plan.round_family):
            _owed(result, live, told_by, unstored, (Operation.UPDATE, account))
    result.receipts = told_by.counted
    result.live, result.dead = len(live.jobs), len(live.dead)
    _sums(result, ledger, live, totals, told_by, operations)
    _log(result, ledger, totals)
    if result.live and over and _is_over(ledger):
        result.stranded = result.live
        result.differences.append(f"{result.live} jobs are open in a crawl that ended: say audit --repair")
    if files:
        _files(result, dataset, told)
    return result


def _is_over(ledger: Ledger) -> bool:
    """Whether the crawl ended since all was done, and nobody has begun it again."""
    lead = ledger.observe()
    return not lead.incarnation and lead.ended == Ending.DONE.value


def open_jobs(ledger: Ledger) -> Iterator[Job]:
    """Every job that waits, is in somebody's hands, or rests."""
    for name in ledger.queue_names():
        if name != COLLECTED:
            yield from map(unpack_job, ledger.queue(name))
    yield from (lease.job for lease in ledger.held().values())
    yield from ledger.retry().values()


def _live(ledger: Ledger, result: Audit) -> _Live:
    live = _Live()

    def add(job: Job) -> None:
        key = (job.operation, job.user)
        if key in live.jobs:
            result.double(f"job {job.operation.value} {job.user} is live twice")
        live.jobs[key] = job
        live.to_come.update((operation, job.user) for operation in job.chain)

    for job in open_jobs(ledger):
        add(job)
    for job, _ in chain(ledger.dead(), ledger.dropped()):
        live.dead[job.operation, job.user] = job
    return live


def _owed(result: Audit, live: _Live, told_by: _Receipts, unstored: set[Key], key: Key) -> None:
    if key in live.jobs or key in live.to_come or key in live.dead:
        return
    if key in unstored:
        result.unstored += 1
    elif told_by.count(key):
        result.stored += 1
    else:
        result.missing.append(key)
        result.lose(f"{key[0].value} {key[1]} has no job, no dead letter and no receipt")


def _sums(
    result: Audit,
    ledger: Ledger,
    live: _Live,
    totals: dict[str, int],
    told_by: _Receipts,
    operations: tuple[Operation, ...],
) -> None:
    """Assigned and stored: jobs and records as the ledger counted them, and as they can be counted now."""
    known = ledger.sizes().get(SEEN, (0, 0))[0]
    result.agree("accounts counted and listed", known, result.accounts)
    for operation in operations:
        letter = operation.value
        open_jobs = sum(key[0] is operation for key in live.jobs) + sum(key[0] is operation for key in live.to_come)
        ended = _ended(totals, letter)
        if operation not in _widening(ledger):
            result.agree(f"{letter} jobs owed by accounts, and ended or open", known, ended + open_jobs)
        in_hand = sum(
            job.progress.count
            for jobs in (live.jobs, live.dead)
            for (kind, _), job in jobs.items()
            if kind is operation
        )
        if not told_by.others[operation]:
            result.agree(
                f"{letter} records counted by the ledger, and told by receipts",
                totals.get(f"{letter}.records", 0) - totals.get(f"{letter}.unstored", 0) - in_hand,
                told_by.received[operation],
            )
    updated = sum(count for name, count in totals.items() if name.startswith("intake.updated"))
    ended = _ended(totals, "U")
    open_updates = sum(key[0] is Operation.UPDATE for key in live.jobs)
    result.agree("U jobs taken in over all rounds, and ended or open", updated, ended + open_updates)


def _ended(totals: dict[str, int], letter: str) -> int:
    """Jobs that were done, or given up, and did not come again."""
    came_again = totals.get(f"{letter}.revived", 0) + totals.get(f"{letter}.again", 0)
    return totals.get(f"{letter}.done", 0) + totals.get(f"{letter}.dead", 0) - came_again


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
    sequences = _sequences(ledger)
    last = next(sequences, 0)
    for sequence in sequences:
        if sequence != last + 1:
            result.differences.append(f"the log jumps from {last} to {sequence}")
        last = sequence
    result.agree("last announcement, and the log's head", last, ledger.heads().get("", 0))


def _sequences(ledger: Ledger) -> Iterator[int]:
    """The sequence of each announcement that is kept, some thousand read at a time."""
    first = 0
    while entries := ledger.log(first, first + LOG_AT_ONCE - 1):
        yield from (entry[0] for entry in entries)
        first += len(entries)


def _files(result: Audit, dataset: FileDataset, told: Callable[[str, int], None]) -> None:
    """Stored: every record of every file once, and as many as its receipt says."""
    for record in _counted("files", dataset.records(), told):
        if record.file is None:
            continue
        result.files += 1
        kind, name, wanted = RecordKind(f".{record.kind}"), record.file.name, record.file.records
        try:
            ids = [record_id(kind, line) for line in dataset.lines(record.user, kind)]
        except (DatasetError, MalformedError) as error:
            result.lose(f"{name} cannot be read: {error}")
            continue
        result.records += len(ids)
        if len(set(ids)) != len(ids):
            result.double(f"{name} has {len(ids) - len(set(ids))} records twice")
        if len(ids) < wanted:
            result.lose(f"{name} has {len(ids)} records, its receipt says {wanted}")
        elif len(ids) > wanted:
            result.double(f"{name} has {len(ids)} records, its receipt says {wanted}")


def _counted(what: str, items: Iterator[T], told: Callable[[str, int], None]) -> Iterator[T]:
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if number % 1000 == 0:
            told(what, number)
    told(what, number)
