"""Repair of a crawl at rest: what the audit found missing gets a new job, and differing counts are corrected.

The losses of a rolled-back ledger need no repair: its jobs still wait there, workers find the receipts that this crawl
left for them, and end them without a request, which also restores the accounts that the stored profiles lead to.
The repair handles the rest: a known account with neither job nor dead letter nor receipt for an operation, a damaged
file, a job that is live twice, a count that was changed by something other than a commit, a log with a gap.

Every step leaves a crawl that can be audited and repaired again, so that it may be killed between any two: files are
set aside before their jobs are added, and counts are corrected in one commit with the jobs that they count. The same
commit announces the records that are done and stay so, since what is done again is announced again.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import islice

import msgpack

from master.audit.audit import Audit
from master.frontier.live_jobs import Key, worth
from master.frontier.plan import Plan, recall
from master.frontier.traversal import COLLECTED
from master.leadership.election import Act, Election
from master.startup.open_crawl import OpenCrawl
from protocol.errors import LedgerError
from protocol.jobs import Job, Operation
from protocol.logs import fields
from storage.ledger.job_codec import unpack_job
from storage.ledger.ledger import Lead, Ledger, Reply
from storage.ledger.transitions import (
    AddJobs,
    Announce,
    EmptySet,
    Forget,
    HandOut,
    LogEntry,
    PutBack,
    Transition,
    TrimLog,
)

log = logging.getLogger(__name__)

LOOK_S = 0.1
CHUNK = 1000
TURNED_AT_ONCE = 200
"""Jobs of a queue that are processed in one commit."""
WHO = "audit --repair"
FAMILY = "repaired"
"""The set of what got a job in a repair."""
COUNT_WORDS = "jobs may be done again, and the records of those that are done were counted"
GAP_WORDS = "the log had a gap, or had lost its end"


Commit = Callable[[list[Transition]], Reply]


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result: jobs added again, files set aside for them, duplicate jobs dropped, counts corrected, and entries
    of the log removed because a later one is missing."""

    jobs: int = 0
    files: int = 0
    twins: int = 0
    counts: int = 0
    entries: int = 0

    def __bool__(self) -> bool:
        return any(astuple(self))


def repair(opened: OpenCrawl, found: Audit) -> Repaired:
    """Repair what an audit of this crawl has just found; returns what was done. Raises LedgerError, also when a master
    leads, and DatasetError."""
    ledger = opened.ledger
    plan = recall(ledger.remembered())
    if plan is None or not (found.missing or found.damaged or found.twins or found.corrections or found.log_gap):
        return Repaired()
    files = jobs = 0
    with lead_at_rest(opened, WHO) as commit:
        for record in found.damaged:
            files += opened.dataset.set_aside(record) is not None
        twins = _drop_twins(ledger, commit, Counter(found.twins), dict(found.spared))
        _empty(ledger, commit)  # the remains of a repair that was killed
        told = Announce(LogEntry("master.repaired", msgpack.packb([COUNT_WORDS, found.included])))
        rest = iter(found.missing)
        first: list[Transition] = [*found.corrections, told]
        while (chunk := list(islice(rest, CHUNK))) or len(first) > 1:
            jobs += int(commit([*first, _jobs(plan, chunk)]).statuses[-1])
            first = []
        _empty(ledger, commit)
        if found.log_gap:
            commit([TrimLog(found.log_gap, LogEntry("master.repaired", msgpack.packb([GAP_WORDS])))])
    done = Repaired(jobs, files, twins, len(found.corrections), found.log_gap)
    log.info("repaired what the audit found", extra=fields(**asdict(done)))
    return done


def _drop_twins(ledger: Ledger, commit: Commit, too_often: Counter[Key], spared: dict[Key, Job]) -> int:
    """Drop the surplus copies of live jobs; returns how many. The first copy that is worth as much as the one to be
    spared stays. Queues are processed once, and keep their order."""
    dropped = 0

    def twin(job: Job) -> bool:
        nonlocal dropped
        key = (job.operation, job.user)
        if key in spared and worth(job) >= worth(spared[key]):
            del spared[key]
            return False
        too_often[key] -= 1
        dropped += too_often[key] >= 0
        return too_often[key] >= 0

    if not too_often:
        return 0
    for queue in ledger.queue_names():
        left = 0 if queue == COLLECTED else ledger.length(queue)
        while left > 0:
            flat = commit([HandOut([queue], min(left, TURNED_AT_ONCE), WHO, "", 0)]).statuses[0]
            tokens, jobs = (token.decode() for token in flat[::2]), map(unpack_job, flat[1::2])
            commit(
                [
                    Forget(token) if twin(job) else PutBack(token, queue, b"", "repair", last=True)
                    for token, job in zip(tokens, jobs, strict=True)
                ]
            )
            left -= len(flat) // 2
    commit([Forget(lease.token) for lease in ledger.held().values() if twin(lease.job)])
    return dropped


def _empty(ledger: Ledger, commit: Commit) -> None:
    """Empty the set of what got a job in a repair, which is not needed any more."""
    for bucket in range(0, ledger.sizes().get(FAMILY, (0, 0))[1], CHUNK):
        commit([EmptySet(FAMILY, bucket, CHUNK)])


@contextlib.contextmanager
def lead_at_rest(opened: OpenCrawl, name: str) -> Iterator[Commit]:
    """Lead a crawl that no master leads, for as long as a tool needs; yields its commit function. Raises LedgerError
    when a master leads."""
    ledger, lead = opened.ledger, _take(opened, name)
    beat = lead.beat

    def commit(batch: list[Transition]) -> Reply:
        nonlocal beat
        reply = ledger.commit(lead.incarnation, beat, batch, [])
        beat += 1
        return reply

    try:
        yield commit
    finally:
        ledger.release(lead.incarnation, beat)


def _take(opened: OpenCrawl, name: str) -> Lead:
    """Take the lead of a crawl at rest, as a master would."""
    ledger, election = opened.ledger, Election()
    while True:
        asked = time.monotonic()
        seen = ledger.observe()
        now = time.monotonic()
        act = election.read(now, seen, now - asked)
        if act is Act.TAKE:
            incarnation = secrets.token_hex(8)
            witness = opened.dataset.highest_epoch()
            lead = ledger.take(incarnation, seen, witness=witness, ledger_id=seen.ledger_id, name=name)
            opened.dataset.witness_epoch(lead.epoch)
            return lead
        if act is Act.COMPLAIN:
            raise LedgerError(f"master {seen.name} leads this crawl: stop it first")
        time.sleep(LOOK_S)


def _jobs(plan: Plan, chunk: list[tuple[Operation, str]]) -> AddJobs:
    """The transition that adds jobs for these. The distance of an account from a target is lost: where it matters, the
    account is placed at the maximum depth, so that the crawl does not exceed it."""
    walk = plan.traversal
    depth = max(0, plan.depth - 1) if walk.levelled else 0
    jobs = [
        walk.new_job(Job(operation, account, depth), f"{operation.value}:{account}") for operation, account in chunk
    ]
    return AddJobs(FAMILY, front=False, jobs=jobs)
