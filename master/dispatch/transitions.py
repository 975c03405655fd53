"""The transitions that a leader commits to the ledger for a page, an end, a failure or a return.

Pure functions of the lease and the message about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgpack

from master.dispatch.assignment import JobDemand
from master.dispatch.leases import Lease
from master.frontier.traversal import Traversal, front_of
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.jobs import OPERATIONS, Job, Operation, Outcome, Segment
from storage.ledger.job_codec import pack_job
from storage.ledger.ledger import MAX_DISCOVERIES
from storage.ledger.transitions import (
    Analysis,
    Discover,
    Discoveries,
    Finish,
    GiveUp,
    LogEntry,
    PutBack,
    Rest,
    StorePage,
    Transition,
    WithoutReceipt,
)

MAX_LETTER_BYTES = 4096
"""Bytes of an error message that a dead letter keeps."""


def without_receipt(operation: Operation) -> str:
    """The name of the ledger's set of accounts whose operation was done by a worker that stores nothing."""
    return f"unstored.{operation.value}"


@dataclass(slots=True)
class Pending:
    """A transition that waits for its commit, and the data to handle its status."""

    transition: Transition
    weight: int = 0
    peer: bytes | None = None
    lease: Lease | None = None
    after: Job | None = None
    topped_up: int = 0
    demand: JobDemand | None = None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Transitions:
    """Creates the transitions of one crawl."""

    traversal: Traversal
    policy: CrawlPolicy

    def page(self, peer: bytes, lease: Lease, step: wire.Step, more: int) -> list[Pending]:
        """One more page is stored. `more` requests are granted with it."""
        job = lease.job
        segments = tuple(s for s in job.progress.segments if s.token != step.token)
        after = job.advanced(
            count=step.records, cursor=step.cursor, segments=(*segments, Segment(step.token, step.length))
        )
        ahead, found = self._discoveries(lease, step.step, step.found)
        about = [job.user, step.records, step.cursor, step.token, step.length, job.operation.value]
        body = msgpack.packb(about)
        transition = StorePage(
            token=step.token,
            step=step.step,
            records=step.records,
            record=pack_job(after),
            found=found,
            entry=LogEntry(f"{OPERATIONS[job.operation].topic}.page", body),
            budget=lease.budget,
            granted=lease.granted + more,
        )
        weight = min(len(step.found), MAX_DISCOVERIES)
        return [*ahead, Pending(transition, weight, peer, lease, after, more, payload=step.payload)]

    def done(self, peer: bytes, lease: Lease, end: wire.End) -> list[Pending]:
        """The job is done, and its dataset is stored."""
        job = lease.job
        ahead, found = self._discoveries(lease, end.step, end.found)
        queue, record = self._following(job)
        outcome = end.outcome or Outcome.COMPLETE.value
        about = [job.operation.value, job.user, outcome, end.records, job.depth, job.parent, lease.worker, end.token]
        body = msgpack.packb(about)
        transition = Finish(
            token=end.token,
            step=end.step,
            records=end.records,
            outcome=outcome,
            queue=queue,
            record=record,
            front=self.traversal.front,
            level=self._ended_level(job),
            found=found,
            entry=LogEntry("job.done", body),
            analysis=self._analysis(job, end),
            receipt=self._without_receipt(job, end),
        )
        return [*ahead, Pending(transition, min(len(end.found), MAX_DISCOVERIES), peer, lease, payload=end.payload)]

    def _analysis(self, job: Job, end: wire.End) -> Analysis | None:
        """The analysis that may have to be requeued: one that found no list, or that of a list with no analysis after
        it. None for any other end."""
        listless = job.operation is Operation.ANALYSE and end.outcome == Outcome.NO_LIST.value and not end.records
        alone = job.operation is Operation.FOLLOWER and not job.chain and Operation.ANALYSE in self.traversal.operations
        if not (listless or alone):
            return None
        again = Job(Operation.ANALYSE, job.user, job.depth, job.parent)
        walk = self.traversal
        return Analysis(job.user, walk.queue(again), pack_job(again), walk.front, walk.level(again))

    @staticmethod
    def _without_receipt(job: Job, end: wire.End) -> WithoutReceipt | None:
        """The mark for the audit that no receipt is needed: this worker stores nothing. A third-party worker may store
        and not report it in its end: its pages prove it. A job of one page has none, so its receipt proves it, if it
        exists: its loss cannot be detected, unless the end says `stored`."""
        stored = end.stored or any(one.length for one in job.progress.segments if one.token == end.token)
        if stored and job.operation is not Operation.UPDATE:  # updates recur, perhaps at another worker
            return None
        return WithoutReceipt(without_receipt(job.operation), job.user, in_it=not stored)

    def failed(self, peer: bytes | None, lease: Lease, after: Job, words: str) -> Pending:
        """A try failed, or a lease lapsed too often: the job rests, or is given up."""
        operation, user, done = after.operation, after.user, after.progress
        field = f"{operation.value}:{user}"
        body = msgpack.packb([operation.value, user, done.tries, words, lease.worker])
        if done.tries < self.policy.job_tries and done.lapses < self.policy.job_lapses:
            resting = Rest(lease.token, field, pack_job(after), LogEntry("job.failed", body))
            return Pending(resting, 0, peer, lease, after)
        kept = replace(lease.job, progress=replace(lease.job.progress, tries=done.tries, lapses=done.lapses))
        letter = msgpack.packb([pack_job(kept), words.encode()[:MAX_LETTER_BYTES]])
        queue, record = self._following(kept)
        transition = GiveUp(
            token=lease.token,
            field=field,
            letter=letter,
            queue=queue,
            record=record,
            front=self.traversal.front,
            level=self._ended_level(kept),
            entry=LogEntry("job.dead", body),
        )
        return Pending(transition, 0, peer, lease, kept)

    def back(self, peer: bytes | None, lease: Lease, reason: str, after: Job | None = None) -> Pending:
        """The job goes back to the front of its queue, as it is held there or as `after`."""
        record = b"" if after is None else pack_job(after)
        return Pending(PutBack(lease.token, front_of(lease.job.operation), record, reason), 0, peer, lease)

    def lapsed(self, lease: Lease) -> Pending:
        """The lease lapsed while no page of it was being committed: that counts, up to `job_lapses` in a row."""
        after = lease.job.lapsed()
        if after.progress.lapses >= self.policy.job_lapses:
            return self.failed(None, lease, after, f"{after.progress.lapses} workers in a row vanished with it")
        return self.back(None, lease, "lapsed", after)

    def _following(self, job: Job) -> tuple[str, bytes]:
        following = job.following()
        return ("", b"") if following is None else (self.traversal.queue(following), pack_job(following))

    def _ended_level(self, job: Job) -> str:
        return self.traversal.level(job) if job.operation is Operation.ANALYSE else ""

    def _discoveries(self, lease: Lease, step: int, found: list[str]) -> tuple[list[Pending], Discoveries | None]:
        """The discoveries committed ahead of a step, since a commit is limited in size, and those committed with it."""
        ahead = []
        while len(found) > MAX_DISCOVERIES:
            part, found = found[:MAX_DISCOVERIES], found[MAX_DISCOVERIES:]
            transition = Discover(lease.token, step, self.traversal.discoveries(lease.job, part))
            ahead.append(Pending(transition, MAX_DISCOVERIES, None, lease))
        return ahead, self.traversal.discoveries(lease.job, found)
