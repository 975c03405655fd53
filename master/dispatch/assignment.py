"""Which waiting jobs go to which worker, and with how many requests. No clock, no I/O.

Rules it keeps:
  * A worker never gets more than it has room for, nor a job whose budget cannot pay for one request.
  * Every operation with both work and budget gets its turn, so that no budget idles behind another's queue.
  * A service that fails for all accounts is tried by one job at a time (`master.dispatch.circuit_breaker`).
  * Work is spread over the workers that have room, so that no caller idles behind another's.
  * After a takeover nothing is granted from a budget, for a while, until all workers that use it were heard: they know
    reports of the service that the new leader does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from master.dispatch.budgets import UNMETERED, Budgets
from master.dispatch.circuit_breaker import CircuitBreakers
from master.dispatch.leases import Lease
from master.dispatch.workers import Worker, WorkerTable
from master.frontier.traversal import Traversal
from protocol.jobs import Operation
from storage.ledger.ledger import Reply
from storage.ledger.transitions import HandOut

GRANT = 4
"""Requests that a job may hold: a page with its retries."""
GRANT_UNMETERED = 16
IDLE_S = 0.05
"""The pause after nothing could be assigned and nothing changed: checking a thousand workers costs 6 ms."""


@dataclass(slots=True)
class JobDemand:
    """Jobs wanted for a worker: the transition that takes them, and the requests granted for each."""

    transition: HandOut
    peer: bytes
    worker: str
    budget: str
    granted: int
    wanted: int


class Assigner:
    """Turns room, waiting jobs and budgets into demands, and the ledger's answers into grants."""

    def __init__(self, budgets: Budgets, traversal: Traversal, breakers: CircuitBreakers) -> None:
        self._budgets, self._breakers = budgets, breakers
        self._traversal = traversal
        self._turn = 0
        self._promised = Counter[bytes]()
        self._idle_until = float("-inf")
        self._silent: dict[str, set[bytes]] = {}
        self._word_until = float("-inf")

    def await_word(self, until: float, worker_table: WorkerTable) -> None:
        """Until then, grant nothing from budgets of workers that have not been heard yet."""
        self._word_until = until
        for peer, worker in worker_table.workers.items():
            for keys in worker.budgets.values():
                for key in keys:
                    self._silent.setdefault(key, set()).add(peer)

    def has_word(self, peer: bytes) -> None:
        """This worker was heard."""
        if self._silent:
            self.stir()
            for peers in self._silent.values():
                peers.discard(peer)
            self._silent = {key: peers for key, peers in self._silent.items() if peers}

    def demands(
        self, now: float, worker_table: WorkerTable, reply: Reply, most: int, transitions: int, intake: bool
    ) -> list[JobDemand]:
        """At most `most` jobs in at most `transitions`, over all workers. `intake`: targets are still being read."""
        if most <= 0 or now < self._idle_until:
            return []
        demands = self._demands(now, worker_table, reply, most, transitions, intake)
        self._idle_until = now if demands else now + IDLE_S
        return demands

    def stir(self) -> None:
        """New work, room or budget may have arrived: check again at once."""
        self._idle_until = float("-inf")

    def _demands(
        self, now: float, worker_table: WorkerTable, reply: Reply, most: int, transitions: int, intake: bool
    ) -> list[JobDemand]:
        levels = dict(reply.levels)
        if intake:
            levels[0] = levels.get(0, 0) + 1  # an unread target belongs to the first level
        sources = {operation: self._traversal.sources(operation, levels) for operation in Operation}
        waiting = {op: sum(reply.lengths.get(queue, 0) for queue in queues) for op, queues in sources.items()}
        if not any(waiting.values()):
            return []
        promised = self._promised
        workers = [worker for worker in worker_table.workers.values() if worker.free > promised[worker.peer]]
        if not workers:
            return []
        self._turn = (self._turn + 1) % len(workers)
        workers = workers[self._turn :] + workers[: self._turn]
        demands: list[JobDemand] = []
        for last in (False, True):
            for left, worker in zip(range(len(workers), 0, -1), workers, strict=True):
                made = self._for_worker(
                    now, worker, worker.free - promised[worker.peer], sources, waiting, most, 1 if last else left
                )
                for demand in made:
                    promised[worker.peer] += demand.wanted
                    most -= demand.wanted
                demands += made
                if most <= 0 or len(demands) + len(Operation) > transitions:
                    return demands
        return demands

    def _for_worker(
        self,
        now: float,
        worker: Worker,
        free: int,
        sources: Mapping[Operation, list[str]],
        waiting: dict[Operation, int],
        most: int,
        sharers: int,
    ) -> list[JobDemand]:
        operations = [operation for operation in worker.budgets if waiting[operation] > 0]
        if not operations or free <= 0:
            return []
        worker.rotation = (worker.rotation + 1) % len(operations)
        operations = operations[worker.rotation :] + operations[: worker.rotation]
        demands = []
        for left, operation in zip(range(len(operations), 0, -1), operations, strict=True):
            keys = worker.budgets[operation]
            available, key = max(((self._available(now, key), key) for key in keys), default=(0, ""))
            share = min(-(-free // left), -(-waiting[operation] // sharers), available, most)
            if share <= 0:
                continue
            most_each = GRANT_UNMETERED if available >= UNMETERED // 2 else GRANT
            granted = max(1, min(most_each, available // share))
            transition = HandOut(sources[operation], share, worker.name, key, granted)
            self._budgets.grant(key, share * granted)
            self._breakers.tried(now, key)
            demands.append(JobDemand(transition, worker.peer, worker.name, key, granted, share))
            waiting[operation] -= share
            free -= share
            most -= share
        return demands

    def _available(self, now: float, key: str) -> int:
        if self._silent and key in self._silent and now < self._word_until:
            return 0
        room = self._breakers.room(now, key)
        return self._budgets.available(key, now) if room is None else min(room, self._budgets.available(key, now))

    def leased(self, demand: JobDemand, jobs: int) -> None:
        """The ledger assigned so many: the grants of the others are returned."""
        self._promised[demand.peer] -= demand.wanted
        if not self._promised[demand.peer]:
            del self._promised[demand.peer]
        self._budgets.settle(demand.budget, (demand.wanted - jobs) * demand.granted)

    def top_up(self, now: float, lease: Lease) -> int:
        """Requests to grant with the next verdict, so that the job can continue."""
        available = self._budgets.available(lease.budget, now)
        most = GRANT_UNMETERED if available >= UNMETERED // 2 else GRANT
        more = max(0, min(most - (lease.granted - lease.spent), available))
        self._budgets.grant(lease.budget, more)
        return more
