"""The audit: reconciles what was assigned, stored and announced; the difference is zero, or it is named.

Read from the ledger and the dataset, not from any process's memory. Every account that the crawl knows owes each
operation of the plan exactly one of: a live job, a place later in a live job's chain, a dead letter, or a receipt.
Each difference has a repair that makes both sides agree, so that an audit after it finds nothing.
None of these is a loss; more than one live job, or a record that is twice in a file, is a doubling. A job that ended
at a worker that stores nothing owes no receipt, which the ledger records for each account: so a crawl may have workers
of both kinds, and losses of the storing ones are still named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from master.dispatch.transitions import without_receipt
from master.frontier.live_jobs import Key, LiveJobs
from master.frontier.plan import SEEN, recall
from master.frontier.traversal import COLLECTED, Traversal
from master.leadership.ledger_calls import Ending
from protocol.errors import DatasetError, MalformedError
from protocol.jobs import Job, Operation
from storage.dataset.interface import Dataset, RecordKind, record_id
from storage.dataset.receipts import FileRecord, Receipt
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import Correct

LOG_AT_ONCE = 5000
NAMED = 100
"""Findings of one kind that are named; the others are only counted."""

T = TypeVar("T")


@dataclass(slots=True)
class Audit:
    """The result. `lost` and `doubled` name what they count; `differences` are sums that should agree and do not."""

    accounts: int = 0
    live: int = 0
    dead: int = 0
    receipts: int = 0
    stored: int = 0
    """What accounts owe and a receipt proves; `receipts` counts those of other crawls in the directory as well."""
    files: int = 0
    records: int = 0
    lost_count: int = 0
    doubled_count: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: list[Key] = field(default_factory=list)
    """What must be done again: an operation that an account owes, without job, dead letter or receipt, or with a
    damaged file."""
    damaged: list[FileRecord] = field(default_factory=list)
    """Files with fewer or other records than expected, which missing or open jobs fetch again."""
    twins: Counter[Key] = field(default_factory=Counter)
    """Jobs that are live more than once, and their number of surplus copies."""
    spared: dict[Key, Job] = field(default_factory=dict)
    """The copy of each of them that is kept."""
    corrections: list[Correct] = field(default_factory=list)
    """The corrections of counts."""
    included: dict[str, int] = field(default_factory=dict)
    """Records of jobs that are done and stay so, by operation, where a sum can be made."""
    log_gap: int = 0
    """The number of entries of the log before its last gap, or before its end where that is lost."""
    unstored: int = 0
    """Jobs that ended at a worker that stores nothing: they owe no receipt, and there is nothing to repair."""
    stranded: int = 0
    """Jobs that are open though the crawl ended: no master will assign them."""

    @property
    def stores_nothing(self) -> bool:
        """Whether no job of this crawl left a receipt, because none of its workers stores anything."""
        return self.unstored > 0 and self.stored == 0

    @property
    def clean(self) -> bool:
        """Whether nothing is lost or doubled, and every sum agrees."""
        return not (self.lost_count or self.doubled_count or self.differences)

    def document(self) -> dict[str, Any]:
        """The result as a JSON object."""
        shown = {name: value for name, value in asdict(self).items() if name not in _FOR_THE_REPAIR}
        return {**shown, "stores_nothing": self.stores_nothing, "clean": self.clean}

    def lose(self, what: str) -> None:
        """Record a loss."""
        self.lost_count += 1
        if len(self.lost) < NAMED:
            self.lost.append(what)

    def double(self, what: str) -> None:
        """Record a doubling."""
        self.doubled_count += 1
        if len(self.doubled) < NAMED:
            self.doubled.append(what)

    def agree(self, what: str, one: int, other: int) -> None:
        """Compare two sums that must be equal."""
        if one != other:
            self.differences.append(f"{what}: {one} and {other}, a difference of {one - other}")

    def correct(self, where: str, name: str, by: int) -> None:
        """Record the change of a count of the ledger, given that all that is missing has got its job."""
        if by:
            self.corrections.append(Correct(where, name, by))


_FOR_THE_REPAIR = {"missing", "damaged", "twins", "spared", "corrections", "included", "log_gap"}
"""Fields that are not findings themselves: `lost`, `doubled` and `differences` name and count them."""


@dataclass(slots=True)
class _Receipts:
    """The receipts by account and operation. `received` sums the records in those of this crawl, for accounts that owe
    it; `others` counts accounts whose receipt a later crawl in the same directory replaced: then no sum is possible."""

    crawl: str
    counted: int = 0
    received: Counter[Operation] = field(default_factory=Counter)
    others: Counter[Operation] = field(default_factory=Counter)
    _by_key: dict[Key, tuple[bool, int]] = field(default_factory=dict)

    def add(self, receipt: Receipt) -> None:
        """One receipt of the dataset."""
        self.counted += 1
        self._by_key[receipt.operation, receipt.user] = receipt.crawl == self.crawl, receipt.received

    def count(self, key: Key, *, unstored: bool) -> bool:
        """Whether there is a receipt; it is counted. For what the ledger knows as `unstored`, only one of this crawl
        counts, and adds to no sum: the ledger's excludes these records."""
        found = self._by_key.get(key)
        if found is None or (unstored and not found[0]):
            return False
        ours, received = found
        if ours and not unstored:
            self.received[key[0]] += received
        elif not ours:
            self.others[key[0]] += 1
        return True


def audit(
    ledger: Ledger, dataset: Dataset, *, files: bool = True, progress: Callable[[str, int], None] | None = None
) -> Audit:
    """Reconcile a crawl at rest. `files` also counts every record of every file; `progress(what, how many)` is called
    every thousand. Raises LedgerError or DatasetError when something cannot be read."""
    told = progress or (lambda _what, _count: None)
    result = Audit()
    plan = recall(ledger.remembered())
    if plan is None:
        return result
    over = _is_over(ledger)
    live = LiveJobs.read(ledger)
    result.twins = +live.twins
    result.spared = {key: live.jobs[key] for key in result.twins}
    for (operation, user), often in result.twins.items():
        for _ in range(often):
            result.double(f"job {operation.value} {user} is live twice")
    totals = ledger.totals()
    told_by = _Receipts(ledger.crawl)
    unstored = {(one, account) for one in Operation for account in ledger.accounts(without_receipt(one))}
    for receipt in _counted("receipts", dataset.receipts(), told):
        told_by.add(receipt)
    operations = plan.operations
    suspect = _files(result, dataset, live, told) if files else {}
    for account in _counted("accounts", ledger.accounts(SEEN), told):
        result.accounts += 1
        for operation in operations:
            if operation in plan.widening:
                continue
            _owed(result, live, told_by, unstored, suspect, (operation, account))
    if plan.round:
        for account in ledger.accounts(plan.round_family):
            _owed(result, live, told_by, unstored, suspect, (Operation.UPDATE, account))
    _made_anew(result, live, suspect)
    result.receipts = told_by.counted
    result.live, result.dead = len(live.jobs), len(live.dead)
    _sums(result, ledger, live, totals, told_by, operations)
    _levels(result, ledger, live, plan.traversal)
    _log(result, ledger, totals)
    _stranded(result, ledger, live, plan.traversal, over)
    return result


def _is_over(ledger: Ledger) -> bool:
    """Whether the crawl ended because all was done, and was not started again."""
    lead = ledger.observe()
    return not lead.incarnation and lead.ended == Ending.DONE.value


def _owed(
    result: Audit,
    live: LiveJobs,
    told_by: _Receipts,
    unstored: set[Key],
    suspect: Mapping[Key, FileRecord],
    key: Key,
) -> None:
    if key in live:
        return
    if key in suspect:
        result.missing.append(key)
    elif told_by.count(key, unstored=key in unstored):
        result.stored += 1
    elif key in unstored:
        result.unstored += 1
    else:
        result.missing.append(key)
        result.lose(f"{key[0].value} {key[1]} has no job, no dead letter and no receipt")


def _made_anew(result: Audit, live: LiveJobs, suspect: Mapping[Key, FileRecord]) -> None:
    """What a damaged or missing file needs: an owed or open job that fetches it again. Where only a dead letter would,
    it must be requeued, which is the operator's decision. A dropped letter gets a job instead."""
    owed = set(result.missing)
    for record in {id(record): record for record in suspect.values()}.values():
        keys = [(operation, record.user) for operation in record.receipts]
        if not any(key in owed or live.makes_anew(key) for key in keys):
            if letters := [f"{key[0].value}:{key[1]}" for key in keys if key in live.dead]:
                say = f"say requeue {letters[0]}, then audit --repair"
                result.differences.append(
                    f"{record.user}.{record.kind} is not made anew before its dead letter is: {say}"
                )
                continue
            again = [key for key in keys if key in live.dropped and key not in live.jobs]
            if not again:
                continue
            result.missing += again
        result.damaged.append(record)


def _sums(
    result: Audit,
    ledger: Ledger,
    live: LiveJobs,
    totals: dict[str, int],
    told_by: _Receipts,
    operations: tuple[Operation, ...],
) -> None:
    """Assigned and stored: jobs and records as the ledger counted them, and as the audit counts them."""
    known = ledger.sizes().get(SEEN, (0, 0))[0]
    result.agree("accounts counted and listed", known, result.accounts)
    result.correct("sets", SEEN, result.accounts - known)
    missing = Counter(operation for operation, _ in result.missing)
    for operation in operations:
        letter = operation.value
        open_jobs = sum(key[0] is operation for key in live.jobs) + sum(key[0] is operation for key in live.to_come)
        ended = _ended(totals, letter)
        if operation not in _widening(ledger):
            result.agree(f"{letter} jobs owed by accounts, and ended or open", known, ended + open_jobs)
            # An ended job that is done again counts as started again.
            result.correct("totals", f"{letter}.again", ended + open_jobs + missing[operation] - result.accounts)
        in_hand = sum(
            job.progress.count
            for jobs in (live.jobs, live.dead, live.dropped)
            for (kind, _), job in jobs.items()
            if kind is operation
        )
        if not told_by.others[operation]:
            counted = totals.get(f"{letter}.records", 0) - totals.get(f"{letter}.unstored", 0) - in_hand
            received = told_by.received[operation]
            result.agree(f"{letter} records counted by the ledger, and told by receipts", counted, received)
            # A dropped letter is removed when its job is added again, and its count with it.
            away = sum(
                live.dropped[key].progress.count
                for key in result.missing
                if key in live.dropped and key[0] is operation
            )
            result.correct("totals", f"{letter}.records", received - counted - away)
            result.included[letter] = received + totals.get(f"{letter}.unstored", 0)
    updated = sum(count for name, count in totals.items() if name.startswith("intake.updated"))
    ended = _ended(totals, "U")
    open_updates = sum(key[0] is Operation.UPDATE for key in live.jobs)
    result.agree("U jobs taken in over all rounds, and ended or open", updated, ended + open_updates)
    result.correct("totals", "U.again", ended + open_updates + missing[Operation.UPDATE] - updated)


def _levels(result: Audit, ledger: Ledger, live: LiveJobs, walk: Traversal) -> None:
    """Breadth first with a depth: a level counts the accounts that still await analysis. With too low a count it ends
    too early, with too high a count never."""
    counted = ledger.levels()
    waiting = Counter(int(level) for level in map(walk.level, live.jobs.values()) if level)
    for level in sorted({*counted, *waiting}):
        what = f"accounts of level {level} to be analysed, counted and open"
        result.agree(what, counted.get(level, 0), waiting[level])
        result.correct("levels", str(level), waiting[level] - counted.get(level, 0))


def _stranded(result: Audit, ledger: Ledger, live: LiveJobs, walk: Traversal, over: bool) -> None:
    """Jobs that no master will assign: in a crawl that ended, or in a queue that no master reads."""
    if result.live and over and _is_over(ledger):
        result.stranded = result.live
        result.differences.append(f"{result.live} jobs are open in a crawl that ended: say audit --repair")
        return
    waiting = Counter(int(level) for level in map(walk.level, live.jobs.values()) if level)
    unseen = sorted({*ledger.queue_names()} - {COLLECTED, *walk.queues(waiting)})
    result.stranded = sum(map(ledger.length, unseen))
    if result.stranded:
        where = ", ".join(unseen)
        result.differences.append(f"{result.stranded} jobs wait where no master looks ({where}): say audit --repair")


def _ended(totals: dict[str, int], letter: str) -> int:
    """Jobs that were done, or given up, and were not started again."""
    came_again = totals.get(f"{letter}.revived", 0) + totals.get(f"{letter}.again", 0)
    return totals.get(f"{letter}.done", 0) + totals.get(f"{letter}.dead", 0) - came_again


def _widening(ledger: Ledger) -> tuple[Operation, ...]:
    plan = recall(ledger.remembered())
    return plan.widening if plan else ()


def _log(result: Audit, ledger: Ledger, totals: dict[str, int]) -> None:
    """Announced: as many as were committed, without a gap."""
    for what, counter, topics in (
        ("jobs ended, and announced", "done", ("job.done",)),
        ("dead letters, and announced", "dead", ("job.dead",)),
        ("pages committed, and announced", "steps", ("timeline.page", "followers.page", "user.page")),
    ):
        counted = sum(totals.get(f"{operation.value}.{counter}", 0) for operation in Operation)
        announced = sum(totals.get(f"announced.{topic}", 0) for topic in topics)
        result.agree(what, counted, announced)
        result.correct("totals", f"announced.{topics[0]}", counted - announced)
    sequences = _sequences(ledger)
    last, number = next(sequences, 0), 0
    for number, sequence in enumerate(sequences, 1):
        if sequence != last + 1:
            result.differences.append(f"the log jumps from {last} to {sequence}")
            result.log_gap = number
        last = sequence
    head = ledger.heads().get("", 0)
    result.agree("last announcement, and the log's head", last, head)
    if last != head:
        result.log_gap = number + 1


def _sequences(ledger: Ledger) -> Iterator[int]:
    """The sequence of each announcement that is kept, read some thousand at a time."""
    first = 0
    while entries := ledger.log(first, first + LOG_AT_ONCE - 1):
        yield from (entry[0] for entry in entries)
        first += len(entries)


def _files(result: Audit, dataset: Dataset, live: LiveJobs, told: Callable[[str, int], None]) -> dict[Key, FileRecord]:
    """Stored: every record of every file once, and as many as its receipt says. Returns what must be done again, with
    its file; a missing one with a job that will fetch all of it again is no finding."""
    suspect: dict[Key, FileRecord] = {}
    for record in _counted("files", dataset.records(), told):
        if record.file is None:
            continue
        keys = [(operation, record.user) for operation in record.receipts]
        if not dataset.has(record.user, RecordKind(f".{record.kind}")) and any(map(live.makes_anew, keys)):
            continue
        before = result.lost_count + result.doubled_count
        result.files += 1
        kind, name, wanted = RecordKind(f".{record.kind}"), record.file.name, record.file.records
        try:
            ids = [record_id(kind, line) for line in dataset.lines(record.user, kind)]
        except (DatasetError, MalformedError) as error:
            result.lose(f"{name} cannot be read: {error}")
        else:
            result.records += len(ids)
            if len(set(ids)) != len(ids):
                result.double(f"{name} has {len(ids) - len(set(ids))} records twice")
            if len(ids) < wanted:
                result.lose(f"{name} has {len(ids)} records, its receipt says {wanted}")
            elif len(ids) > wanted:
                result.double(f"{name} has {len(ids)} records, its receipt says {wanted}")
        if result.lost_count + result.doubled_count > before:
            suspect |= dict.fromkeys(keys, record)
    return suspect


def _counted(what: str, items: Iterator[T], told: Callable[[str, int], None]) -> Iterator[T]:
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if number % 1000 == 0:
            told(what, number)
    told(what, number)
