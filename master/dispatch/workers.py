"""The workers that a master knows, and which leases they hold. No clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from master.dispatch.budgets import budget_key
from master.dispatch.leases import Lease
from protocol.jobs import Operation
from protocol.messages import Hello


@dataclass(slots=True)
class Worker:
    """A worker that said HELLO. `peer` is its routing id, fresh for each of its runs."""

    peer: bytes
    name: str
    run: str
    service: str
    room: int
    budgets: dict[Operation, list[str]]
    heard_at: float
    joined_at: float
    tokens: set[str] = field(default_factory=set)
    rotation: int = 0
    completed: int = 0

    @property
    def free(self) -> int:
        """Jobs that it can take now. Room is what it can hold in all, so a lost frame leaks nothing."""
        return self.room - len(self.tokens)


@dataclass(slots=True)
class PendingWorker:
    """A worker whose name another run has: that one was asked at `asked_at`."""

    peer: bytes
    hello: Hello
    asked_at: float


@dataclass(slots=True)
class WorkerTable:
    """Workers by peer and by name, and every lease by its token."""

    workers: dict[bytes, Worker] = field(default_factory=dict)
    by_name: dict[str, Worker] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    newcomers: dict[str, PendingWorker] = field(default_factory=dict)

    def join(self, peer: bytes, hello: Hello, now: float) -> Worker:
        """Register a worker, or the same run again."""
        budgets: dict[Operation, list[str]] = {Operation(word): [] for word in hello.operations}
        for caller in hello.callers:
            operation = Operation(caller.operation)
            if operation in budgets:
                budgets[operation].append(budget_key(hello.service, caller.who, caller.endpoint))
        worker = Worker(peer, hello.name, hello.run, hello.service, hello.room, budgets, now, now)
        before = self.by_name.get(hello.name)
        if before is not None:
            worker.tokens = before.tokens
            self.workers.pop(before.peer, None)
            for token in worker.tokens:
                self.leases[token].peer = peer
        self.workers[peer] = self.by_name[hello.name] = worker
        return worker

    def leave(self, worker: Worker) -> list[Lease]:
        """Forget a worker; its leases, to be disposed of, are nobody's."""
        self.workers.pop(worker.peer, None)
        if self.by_name.get(worker.name) is worker:
            del self.by_name[worker.name]
        leases = [self.leases[token] for token in sorted(worker.tokens)]
        for lease in leases:
            lease.peer = None
        worker.tokens.clear()
        return leases

    def give(self, lease: Lease, worker: Worker) -> None:
        """A lease is in a worker's hands."""
        lease.peer, lease.worker = worker.peer, worker.name
        worker.tokens.add(lease.token)

    def drop(self, token: str) -> Lease | None:
        """A lease is over."""
        lease = self.leases.pop(token, None)
        if lease is not None and lease.peer is not None and lease.peer in self.workers:
            self.workers[lease.peer].tokens.discard(token)
        return lease

    def unspent_beyond(self, later: WorkerTable) -> Counter[str]:
        """What was granted to leases that a later roster does not hold, by budget."""
        unspent: Counter[str] = Counter()
        for token, lease in self.leases.items():
            if token not in later.leases:
                unspent[lease.budget] += lease.granted - lease.spent
        return unspent

    def orphans(self) -> Iterator[Lease]:
        """Leases that nobody has listed."""
        return (lease for lease in self.leases.values() if lease.peer is None)
