"""Registration of workers, and checks of the leases that they list. No clock, no I/O.

Rules it keeps:
  * A name belongs to one run. When another run uses it, the run that has it is asked, and the new one is refused only
    if the old one answers.
  * A token that a worker lists and no other holds belongs to it; an unknown one is revoked.
  * A token that it should hold and does not list was lost in transit, and is sent again; not for ever.
  * A connection has one name at a time: a worker that takes another loses the jobs that it had under the first.
"""

from __future__ import annotations

from collections.abc import Callable

from master.dispatch.budgets import Budgets
from master.dispatch.leases import Lease, assignment
from master.dispatch.workers import PendingWorker, Worker, WorkerTable
from master.policy import CrawlPolicy
from protocol import messages as wire
from storage.ledger.ledger import Lead

MAX_REVOKED = 1000
"""Tokens in one REVOKE."""
STRANGER = wire.Refused("who", "this master does not know you: say HELLO first")
"""The answer to a worker that never said HELLO."""


class Registration:
    """Adds workers to the table. `dispose(leases, reason)` returns leases; `spent(lease, requests)` settles grants."""

    def __init__(
        self,
        lead: Lead,
        policy: CrawlPolicy,
        worker_table: WorkerTable,
        budgets: Budgets,
        outbox: Callable[[bytes, wire.Message], None],
        dispose: Callable[[list[Lease], str], None],
        spent: Callable[[Lease, int], None],
        count: Callable[[str, int], None],
    ) -> None:
        self._lead, self._policy, self._worker_table, self._budgets = lead, policy, worker_table, budgets
        self._send, self._dispose, self._spent, self._count = outbox, dispose, spent, count
        self.draining = False

    def hello(self, now: float, peer: bytes, hello: wire.Hello) -> None:
        """Handle the HELLO of a worker."""
        refusal = self._refusal(hello)
        if refusal is not None:
            self._send(peer, refusal)
            return
        known = self._worker_table.by_name.get(hello.name)
        if known is not None and known.run != hello.run:
            self._worker_table.newcomers[hello.name] = PendingWorker(peer, hello, now)
            self._send(known.peer, self._welcome())
            return
        self._admit(now, peer, hello)

    def _refusal(self, hello: wire.Hello) -> wire.Refused | None:
        if hello.service != self._policy.service:
            words = f"this crawl is of {self._policy.service!r}, the worker of {hello.service!r}"
            return wire.Refused("service", words)
        parts = [hello.service, *(word for caller in hello.callers for word in (caller.who, caller.endpoint))]
        if not hello.name or any(" " in part or not part for part in parts):
            return wire.Refused("service", "a name, a caller or an endpoint is empty or holds a blank")
        if hello.name not in self._worker_table.by_name and len(self._worker_table.workers) >= self._policy.max_clients:
            return wire.Refused("full", f"{self._policy.max_clients} workers are here: raise --max-clients")
        return None

    def _admit(self, now: float, peer: bytes, hello: wire.Hello) -> None:
        former = self._worker_table.workers.get(peer)
        if former is not None and former.name != hello.name:
            self._dispose(self._worker_table.leave(former), "bye")
        worker = self._worker_table.join(peer, hello, now)
        for keys in worker.budgets.values():
            for key in keys:
                self._budgets.of(key)
        self._budgets.report(self._policy.service, now, hello.budgets, peer)
        self._send(peer, self._welcome())
        if self.draining:
            self._send(peer, wire.Drain(self._lead.epoch))
        self.listed(now, worker, hello.held)
        self.resend(now, worker, {item.token for item in hello.held})

    def answered(self, worker: Worker) -> None:
        """A worker is alive: if another run claims its name, that run is refused."""
        newcomer = self._worker_table.newcomers.get(worker.name)
        if newcomer is not None and newcomer.hello.run != worker.run:
            del self._worker_table.newcomers[worker.name]
            words = f"a worker named {worker.name!r} is at work: give this one another name"
            self._send(newcomer.peer, wire.Refused("name-in-use", words))

    def replace(self, now: float, name: str) -> None:
        """The run that had the name does not answer: the new run gets it."""
        newcomer = self._worker_table.newcomers.pop(name)
        old = self._worker_table.by_name.get(name)
        if old is not None:
            self._dispose(self._worker_table.leave(old), "lapsed")
        self._admit(now, newcomer.peer, newcomer.hello)

    def listed(self, now: float, worker: Worker, held: list[wire.Spent]) -> None:
        """The leases that a worker lists: adopt those that no worker had listed, revoke unknown or stalled ones."""
        unknown = []
        for item in held:
            lease = self._worker_table.leases.get(item.token)
            if lease is None or (lease.peer not in (None, worker.peer) and lease.peer in self._worker_table.workers):
                unknown.append(item.token)
                continue
            if lease.peer != worker.peer:
                self._worker_table.give(lease, worker)
                lease.sent_at = now
            self._spent(lease, item.spent)
            if item.idle_ms > self._policy.progress_timeout * 1000 and not lease.ending:
                unknown.append(item.token)
                self._count("revoked", 1)
                self._dispose([lease], "lapsed")
        for first in range(0, len(unknown), MAX_REVOKED):
            tokens = unknown[first : first + MAX_REVOKED]
            self._send(worker.peer, wire.Revoke(self._lead.epoch, tokens, "not yours, or no progress"))

    def resend(self, now: float, worker: Worker, listed: set[str]) -> None:
        """Send jobs again that were sent a while ago and that the worker does not list: the frame was lost."""
        lost = []
        for token in sorted(worker.tokens - listed):
            lease = self._worker_table.leases[token]
            if now - lease.moved_at > self._policy.progress_timeout:
                self._dispose([lease], "lapsed")
            elif not lease.ending and now - lease.sent_at > 2 * self._policy.heartbeat:
                lease.sent_at = now
                lost.append(assignment(lease))
        if lost:
            self._count("jobs sent again", len(lost))
            self._send(worker.peer, wire.JobGiven(self._lead.epoch, lost))

    def _welcome(self) -> wire.Welcome:
        heartbeat_ms = int(self._policy.heartbeat * 1000)
        lead = self._lead
        return wire.Welcome(lead.incarnation, lead.epoch, self._policy.crawl, heartbeat_ms, lead.ledger_id)
