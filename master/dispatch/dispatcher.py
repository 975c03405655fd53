"""Dispatch: the leader's decisions. Messages and ticks go in; a batch for the ledger and messages to send come out.

No socket, no clock, no Redis in here: `now` is the caller's monotonic time in seconds. The loop calls

    receive(now, peer, message)     for each waiting frame
    tick(now)
    batch = next_batch(now)         when no commit is in flight, or one and this is `full`; committed by the ledger
    committed(now, reply)           the answer to the first in flight
    outbox                          messages to send, emptied by the loop
    events                          what was announced, to publish, emptied by the loop

Rules it keeps:
  * Nothing is answered or announced before it is committed: verdicts, jobs and grants leave only in `committed`.
  * The memory holds the ledger's last known state, and can be rebuilt from it; where the two differ the ledger
    is right, and `InconsistentError` ends this object: the lead is taken again.
  * A lease is identified by its token, never by the connection of a message about it.
  * After a commit with an unknown result this object is discarded, and another is made from the ledger.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from master.dispatch.announcements import announcements
from master.dispatch.assignment import Assigner, JobDemand
from master.dispatch.budgets import Budgets
from master.dispatch.circuit_breaker import CircuitBreakers
from master.dispatch.leases import Lease, LeaseAct, LeaseEvent, LeaseState, assignment
from master.dispatch.registration import STRANGER, Registration
from master.dispatch.retries import RetryBackoff
from master.dispatch.snapshot import InconsistentError, Snapshot
from master.dispatch.transitions import Pending, Transitions
from master.dispatch.workers import WorkerTable
from master.events.subscribers import Readers
from master.frontier.traversal import COLLECTED, Traversal, front_of
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.events import Announcement
from storage.ledger.job_codec import unpack_job
from storage.ledger.ledger import AGAIN, GAP, MAX_DISCOVERIES, MAX_TRANSITIONS, OK, STALE, Lead, Reply
from storage.ledger.transitions import Discover, Finish, LeaseTransition, Rest, StorePage, Transition, Wake

MAX_LEASES = 512
"""Jobs assigned in one commit."""
RESERVED = 64
"""Transitions of a batch reserved for assignments, so that a flood of results does not idle the workers."""
ORPHANS_S = 1.0
"""How often orphans are searched for: this scans thousands of leases."""
MAX_PENDING = 20_000
"""Waiting transitions beyond which messages about leases that are over are dropped."""


class Dispatch:
    """One leadership: from taking the lead to losing it."""

    def __init__(
        self,
        lead: Lead,
        traversal: Traversal,
        policy: CrawlPolicy,
        snapshot: Snapshot,
        now: float,
        chance: random.Random,
    ) -> None:
        self.lead, self.traversal, self.policy = lead, traversal, policy
        self.worker_table, self.budgets, self.readers = WorkerTable(), Budgets(), Readers(snapshot.readers)
        self.outbox: list[tuple[bytes, wire.Message]] = []
        self.events: list[Announcement] = []
        self.reply, self.log_end = snapshot.reply, snapshot.log_end
        self.intake: Iterator[Transition | None] | None = None
        self.draining = False
        self.counted: dict[str, int] = {}
        self.filled_by = MAX_TRANSITIONS - RESERVED
        self._pending: deque[Pending] = deque()
        self._flying: deque[list[Pending]] = deque()
        self._confirmed = False
        self._committed_at = now
        self._grace_until = now + policy.grace
        self.breakers = CircuitBreakers()
        self._assigner = Assigner(self.budgets, traversal, self.breakers)
        self._transitions = Transitions(traversal, policy)
        self._admission = Registration(
            lead, policy, self.worker_table, self.budgets, self._send, self._dispose, self._spent, self._count
        )
        self._resting = RetryBackoff(policy, chance)
        for name, job in sorted(snapshot.retry.items()):
            self._resting.rest(now, name, job)
        for token, lease in snapshot.held.items():
            self.worker_table.leases[token] = Lease(
                token, lease.job, lease.worker, lease.budget, lease.granted, moved_at=now
            )
            self.budgets.grant(lease.budget, lease.granted)

    # Input.

    def receive(self, now: float, peer: bytes, message: wire.Message) -> None:
        """One message from a worker. A message that a worker must not send is counted and dropped."""
        worker = self.worker_table.workers.get(peer)
        if worker is not None:
            worker.heard_at = now
            self._assigner.has_word(peer)
            self._admission.answered(worker)
        match message:
            case wire.Hello():
                self._assigner.stir()
                self._admission.hello(now, peer, message)
            case wire.ProgressMade():
                self._heard(now, peer, message.budgets, message.steps)
                for step in message.steps:
                    self._step(now, peer, step)
            case wire.Result():
                self._assigner.stir()
                self._heard(now, peer, message.budgets, message.ends)
                for end in message.ends:
                    self._end(now, peer, end)
            case wire.Heartbeat() if worker is not None and worker.run == message.run:
                self.budgets.report(self.policy.service, now, message.budgets, peer)
                worker.room = message.room
                self._admission.listed(now, worker, message.held)
                self._admission.resend(now, worker, {item.token for item in message.held})
                self.outbox.append((peer, wire.Committed(self.lead.epoch, [])))
            case wire.Bye() if worker is not None and worker.run == message.run:
                self._dispose(self.worker_table.leave(worker), "bye")
            case wire.Passed():
                if message.ledger == self.lead.ledger_id and (told := self.readers.heard(now, message)) is not None:
                    self.also(told)
                return
            case wire.Heartbeat() | wire.Bye():
                pass
            case _:
                self._count(f"unexpected {wire.TYPES[type(message)].decode()}")
        if worker is None and not isinstance(message, (wire.Hello, wire.Bye)):
            self._send(peer, STRANGER)

    def also(self, transition: Transition, *, peer: bytes | None = None, lease: Lease | None = None) -> None:
        """One more transition that is not a result: requests of tools and readers, and questions about leases that are
        over, or steps that are not the next. A flood of these is dropped: the sender repeats a real one."""
        if len(self._pending) < MAX_PENDING:
            self._pending.append(Pending(transition, peer=peer, lease=lease))
        else:
            self._count("words dropped")

    def unreachable(self, now: float, peer: bytes) -> None:
        """A message could not be sent: that routing id is not connected any more."""
        if (worker := self.worker_table.workers.get(peer)) is not None and worker.name in self.worker_table.newcomers:
            self._admission.replace(now, worker.name)

    def cut(self, peer: bytes) -> None:
        """Remove a worker whose key was revoked."""
        if (worker := self.worker_table.workers.get(peer)) is not None:
            self._dispose(self.worker_table.leave(worker), "lapsed")

    def tick(self, now: float) -> None:
        """Handle the clock: silent workers, orphans after the grace period, resting jobs that are due."""
        for worker in [w for w in self.worker_table.workers.values() if now - w.heard_at > self.policy.worker_timeout]:
            self._count("workers lost")
            self.cut(worker.peer)
        self.budgets.none_but(self.worker_table.workers, now)
        if now >= self._grace_until:
            self._grace_until = now + ORPHANS_S
            self._dispose([lease for lease in self.worker_table.orphans() if not lease.ending], "orphaned")
        for name in [n for n, c in self.worker_table.newcomers.items() if now - c.asked_at > self.policy.name_timeout]:
            self._admission.replace(now, name)
        self._pending += [Pending(Wake(name, front_of(operation))) for name, operation in self._resting.awake(now)]

    def drain(self) -> None:
        """Assign no more jobs; workers finish those that they hold."""
        self.draining = self._admission.draining = True
        self.outbox += [(peer, wire.Drain(self.lead.epoch)) for peer in self.worker_table.workers]

    def expect(self, now: float, workers: Sequence[tuple[bytes, wire.Hello]]) -> None:
        """Welcome workers that are known from before this leadership. None gets a job until it has reported its state,
        and, for a while, until all that use the same budget have: they may know newer reports of the service."""
        for peer, hello in workers:
            self._admission.hello(now, peer, hello)
        self._assigner.await_word(now + 2 * self.policy.heartbeat, self.worker_table)

    def inherit(self, budgets: Budgets, before: Dispatch | None) -> None:
        """Take over known budgets. `before` is the previous leadership, if it was this process' own: the grants of its
        leases that are not held any more count as spent."""
        vanished = Counter[str]() if before is None else before.worker_table.unspent_beyond(self.worker_table)
        if before is not None:
            self.counted = before.counted
            if before.draining:
                self.drain()
        self.budgets.inherit(budgets, vanished)

    @property
    def queues(self) -> list[str]:
        """The queues whose lengths each commit returns."""
        return self.traversal.queues(self.reply.levels)

    @property
    def full(self) -> bool:
        """Whether the next commit is full already, and need not wait for the answer to the one in flight. Never while
        targets are read: the ledger's thread reads ahead then."""
        return len(self._pending) >= self.filled_by and self.intake is None

    @property
    def eager(self) -> bool:
        """Whether something waits for the next commit that needs no further message."""
        return bool(self._pending) or self.intake is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, and a commit after the last change has confirmed it: the ledger may have been
        rolled back meanwhile, and then that commit is refused."""
        return self._confirmed and self._over_by_memory()

    def _over_by_memory(self) -> bool:
        if self._pending or any(self._flying) or self.worker_table.leases:
            return False
        if self.draining:
            return True
        waiting = any(length for queue, length in self.reply.lengths.items() if queue != COLLECTED)
        unleveled = any(accounts > 0 for accounts in self.reply.levels.values())
        return not (self.intake or waiting or unleveled or self.reply.held or self.reply.retry)

    # Output.

    def next_batch(self, now: float) -> list[Transition] | None:
        """The next commit: pending transitions, then assignments. None when there are none and no beat is due."""
        assert len(self._flying) < 2, "one commit is under way, and at most one is put behind it"
        batch: list[Pending] = []
        weight = 0
        while self._pending and len(batch) < MAX_TRANSITIONS - RESERVED:
            if batch and weight + self._pending[0].weight > MAX_DISCOVERIES:
                break
            pending = self._pending.popleft()
            weight += pending.weight
            batch.append(pending)
        if self.intake is not None and weight < MAX_DISCOVERIES // 2:
            following = list(islice(self.intake, 1))
            batch += [Pending(one) for one in following if one is not None]  # None is still being read
            if not following:
                self.intake = None
        if not self.draining:
            room = MAX_TRANSITIONS - len(batch)
            demands = self._assigner.demands(
                now, self.worker_table, self.reply, MAX_LEASES, room, self.intake is not None
            )
            batch += [Pending(demand.transition, demand=demand) for demand in demands]
        due = now - self._committed_at >= self.policy.beat or (not self._confirmed and self._over_by_memory())
        if not batch and not due:
            return None
        self._flying.append(batch)
        return [pending.transition for pending in batch]

    def committed(self, now: float, reply: Reply) -> None:
        """The ledger committed the batch: record the result, and answer those whom it concerns."""
        batch = self._flying.popleft()
        self.reply, self._committed_at = reply, now
        self._confirmed = not batch
        self.events += announcements(batch, reply.announced)
        if batch:
            self._assigner.stir()
        verdicts: dict[bytes, list[wire.Verdict]] = {}
        for pending, status in zip(batch, reply.statuses, strict=True):
            if pending.demand is not None:
                self._leased(now, pending.demand, status)
            elif isinstance(pending.transition, LeaseTransition):
                self._settled(now, pending, status, verdicts)
        self.outbox += [(peer, wire.Committed(self.lead.epoch, items)) for peer, items in verdicts.items()]

    # The handlers, one per message.

    def _heard(
        self, now: float, peer: bytes, budgets: list[wire.BudgetReport], said: Sequence[wire.Step | wire.End]
    ) -> None:
        """Budget reports are accepted from a known worker, or with a lease that is held."""
        if peer in self.worker_table.workers or any(one.token in self.worker_table.leases for one in said):
            self.budgets.report(self.policy.service, now, budgets, peer)

    def _step(self, now: float, peer: bytes, step: wire.Step) -> None:
        lease = self.worker_table.leases.get(step.token)
        if lease is not None and lease.state is not LeaseState.HELD:
            self._count("steps said twice")
            return
        if lease is None or step.step != lease.job.progress.steps + 1:
            self.also(Discover(step.token, step.step), peer=peer, lease=lease)
            return
        self._spent(lease, step.spent)
        lease.happened(LeaseEvent.PAGE)
        self._pending += self._transitions.page(peer, lease, step, self._assigner.top_up(now, lease))

    def _end(self, now: float, peer: bytes, end: wire.End) -> None:
        lease = self.worker_table.leases.get(end.token)
        if lease is None:
            self.also(Discover(end.token, end.step), peer=peer)
            return
        event = LeaseEvent.FAILURE if end.how in (wire.FAILED, wire.LOST) else LeaseEvent.END
        if lease.happened(event) is LeaseAct.IGNORE:
            self._count("ends said twice or too early")  # it is said again if it is meant
            return
        self._spent(lease, end.spent)
        match end.how:
            case wire.DONE:
                self._pending += self._transitions.done(peer, lease, end)
            case wire.LIMITED:
                self._pending.append(self._transitions.back(peer, lease, "parked"))
            case wire.LOST:
                after = lease.job.lapsed().restarted()
                self._pending.append(self._transitions.failed(peer, lease, after, end.words))
            case _:
                if self.breakers.spares(lease.budget):
                    self._pending.append(self._transitions.back(peer, lease, "outage"))
                else:
                    self._pending.append(self._transitions.failed(peer, lease, lease.job.failed(), end.words))
                self.breakers.failed(now, lease.budget, lease.job.user, end.words)

    def _dispose(self, leases: list[Lease], reason: str) -> None:
        """Leases that nobody works on go back to the front of their queues, as held while a page is committed."""
        for lease in leases:
            stepping = lease.state is LeaseState.STEPPING
            if lease.happened(LeaseEvent.LAPSED) is LeaseAct.PUT_BACK:
                counts = reason == "lapsed" and not stepping
                transitions = self._transitions
                self._pending.append(transitions.lapsed(lease) if counts else transitions.back(None, lease, reason))

    # Answers of the ledger.

    def _leased(self, now: float, demand: JobDemand, flat: list[Any]) -> None:
        worker = self.worker_table.workers.get(demand.peer)
        jobs = []
        for i in range(0, len(flat), 2):
            token, job = flat[i].decode(), unpack_job(flat[i + 1])
            granted = demand.granted
            if worker is None:  # it left during the commit, and got neither the job nor its grant
                self.budgets.settle(demand.budget, granted)
                granted = 0
            lease = Lease(token, job, demand.worker, demand.budget, granted, sent_at=now, moved_at=now)
            self.worker_table.leases[token] = lease
            if worker is None:
                self._dispose([lease], "bye")
                continue
            self.worker_table.give(lease, worker)
            jobs.append(assignment(lease))
        self._assigner.leased(demand, len(flat) // 2)
        if jobs:
            self._send(demand.peer, wire.JobGiven(self.lead.epoch, jobs))

    def _settled(self, now: float, pending: Pending, status: int, verdicts: dict[bytes, list[wire.Verdict]]) -> None:
        said, lease, granted = pending.transition, pending.lease, 0
        assert isinstance(said, LeaseTransition)
        token, page, done = said.token, isinstance(said, StorePage), isinstance(said, Finish)
        if lease is not None and page:
            lease.happened(LeaseEvent.PAGE_ANSWERED)
        if lease is None:
            if status != STALE:
                raise InconsistentError(f"the ledger holds the lease {token}, its leader does not know it")
        elif status == OK and page:
            assert pending.after is not None
            lease.job, lease.moved_at = pending.after, now
            lease.granted += pending.topped_up
            granted = lease.granted
            self.breakers.succeeded(lease.budget)
        elif status == OK and not isinstance(said, Discover):
            if done:
                self.breakers.succeeded(lease.budget)
            self._over(now, pending, lease)
        elif status == AGAIN and not done:
            granted = lease.granted
            self.budgets.settle(lease.budget, pending.topped_up)
        elif status in (GAP, AGAIN):
            self.budgets.settle(lease.budget, pending.topped_up)
            lease.happened(LeaseEvent.GAP)
            self._pending.append(self._transitions.back(None, lease, "gap"))
            if pending.peer is not None:
                self.outbox.append((pending.peer, wire.Revoke(self.lead.epoch, [token], "a step is missing")))
            return
        elif status == OK:  # part of the discoveries of a step
            return
        else:
            self.budgets.settle(lease.budget, pending.topped_up)
            if token in self.worker_table.leases:
                raise InconsistentError(f"the ledger does not hold the lease {token}, its leader does")
        unlisted = granted and lease is not None and lease.peer != pending.peer
        if pending.peer is not None and not unlisted:  # an unlisted token may lapse while the answer is on its way
            step = said.step if isinstance(said, (StorePage, Finish, Discover)) else 0
            accepted = wire.STALE if status == STALE else wire.ACCEPTED
            verdicts.setdefault(pending.peer, []).append(wire.Verdict(token, step, accepted, granted))

    def _over(self, now: float, pending: Pending, lease: Lease) -> None:
        lease.happened(LeaseEvent.END_COMMITTED)
        self.worker_table.drop(lease.token)
        unspent = lease.granted - lease.spent
        if pending.peer is None:
            self.budgets.forfeit(lease.budget, unspent, now)
        else:
            self.budgets.settle(lease.budget, unspent)
        if isinstance(pending.transition, Rest):
            assert pending.after is not None
            self._resting.rest(now, pending.transition.field, pending.after)
        elif (
            isinstance(pending.transition, Finish)
            and (worker := self.worker_table.by_name.get(lease.worker)) is not None
        ):
            worker.completed += 1

    # Helpers.

    def _send(self, peer: bytes, message: wire.Message) -> None:
        self.outbox.append((peer, message))

    def _spent(self, lease: Lease, spent: int) -> None:
        if more := lease.spend(spent):
            self.budgets.settle(lease.budget, more)

    def _count(self, what: str, by: int = 1) -> None:
        self.counted[what] = self.counted.get(what, 0) + by
