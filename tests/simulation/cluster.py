"""The whole cluster in one process on a virtual clock: master, workers and service; the ledger is real.

Frames cross a network that drops, doubles, delays and reorders them; processes die between any two steps; the ledger's
connection breaks before or after a commit; the ledger is rolled back to an earlier prefix of its commits, by replaying
them (the script is deterministic). Everything random comes from the seed, so that a seed replays exactly.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from master.dispatch import Dispatch
from master.loaded import InconsistentError, Loaded
from master.terms import Terms
from master.traversal import Traversal, Traversing
from protocol import messages as wire
from protocol.errors import FencedError, LedgerError
from protocol.jobs import Operation
from storage.ledger import Lead, Reply
from storage.records import pack_job
from tests.simulation.recorder import Recorder
from tests.simulation.service import Dataset, Graph, Service
from tests.simulation.workplace import SimulatedWorker

WORKERS = 3
ACCOUNTS = 20
FAULTS = 24
DEADLINE = 900.0
"""Virtual seconds in which a crawl must end."""


@dataclass
class Violation(Exception):
    """A promise was broken."""

    words: str


@dataclass
class Simulation:
    """One seed. `make_dispatch` lets a mutant take the place of the real one."""

    seed: int
    client: redis.Redis
    source: str | None = None
    make_dispatch: Callable[..., Dispatch] = Dispatch
    coverage: Counter[str] = field(default_factory=Counter)
    gentle: bool = False
    """Whether only frames are lost and connections cut, and nobody dies."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self.client.flushdb()
        self.ledger = Recorder(self.client, "sim")
        if self.source is not None:
            self.ledger._source = self.source
        self.depth = self.chance.choice([0, 0, 3])
        self.graph = Graph.draw(self.chance, ACCOUNTS, near=0 if self.depth else 6)
        mode = Traversing.BFS if self.depth else self.chance.choice([Traversing.BFS, Traversing.DFS])
        operations = (Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE)
        self.traversal = Traversal(operations, mode, self.depth)
        self.service = Service(self.graph, limit=self.chance.choice([5, 15, 1000]), window=10.0)
        self.dataset = Dataset()
        self.targets = sorted(self.graph.followers)[:2]
        self.terms = Terms(
            crawl="sim",
            service="sim",
            worker_timeout=6.0,
            grace=3.0,
            retry_base=1.0,
            retry_most=10.0,
            job_tries=50,
            job_lapses=50,
        )
        self.acknowledged: set[tuple[Operation, str, str]] = set()
        self.trusted_from = 0.0
        self.kills = self.rollbacks = 0
        self.finished = False
        self.drop_next = self.double_next = self.delay_next = 0
        self.cut_reply = ""
        self.cut_outbox: int | None = None
        self.dispatch: Dispatch | None = None
        self.incarnations = 0
        self.master_life = 0
        self.lost_requests: list[tuple[str, int, Any, list[str]]] = []
        self.workers = [SimulatedWorker(self, f"w{n}") for n in range(WORKERS)]

    # Time.

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + delay, next(self._sequence), action))

    def run(self) -> None:
        """Run to the end of the crawl, and check what was promised."""
        self.start_master()
        for worker in self.workers:
            self.after(self.chance.random(), worker.start)
        horizon = 20.0
        for _ in range(FAULTS):
            self.after(self.chance.random() * horizon, self.chance.choice(self.faults()))
        while self._events and not self.finished:
            self.now, _, action = heapq.heappop(self._events)
            if self.now > DEADLINE:
                raise Violation(f"not finished after {DEADLINE} virtual seconds: {self.ledger.totals()}")
            action()
        self.check()

    # Faults.

    def faults(self) -> list[Callable[[], None]]:
        """What can go wrong, each as likely as it is listed."""
        gentle: list[Callable[[], None]] = [
            lambda: self._frames("drop_next"),
            lambda: self._frames("double_next"),
            lambda: self._frames("delay_next"),
            lambda: self._cut("before"),
            lambda: self._cut("after"),
            lambda: self._cut("late"),
            self._service_fails,
        ]
        if self.gentle:
            return gentle
        return [
            *gentle,
            lambda: self._cut("die"),
            lambda: self._cut("die"),
            self.kill_master,
            self.kill_mid_outbox,
            self.kill_worker,
            self.kill_worker,
            self.roll_back,
        ]

    def _frames(self, what: str) -> None:
        self.coverage[f"fault {what}"] += 1
        setattr(self, what, getattr(self, what) + self.chance.randint(1, 6))

    def _service_fails(self) -> None:
        self.coverage["fault service"] += 1
        self.service.fail_next += self.chance.randint(1, 5)

    def _cut(self, when: str) -> None:
        self.coverage[f"fault ledger {when}"] += 1
        self.cut_reply = when

    def kill_master(self) -> None:
        """kill -9, and a new process a while later."""
        self.coverage["fault kill master"] += 1
        self.kills += 1
        self.dispatch = None
        self.master_life += 1
        self.after(0.2 + self.chance.random(), self.start_master)

    def kill_mid_outbox(self) -> None:
        """The master dies after it sent only some of what it had to say."""
        self.coverage["fault kill mid outbox"] += 1
        self.cut_outbox = self.chance.randint(0, 3)

    def kill_worker(self) -> None:
        """kill -9 of a worker."""
        self.coverage["fault kill worker"] += 1
        self.kills += 1
        self.chance.choice(self.workers).kill()

    def roll_back(self) -> None:
        """The ledger's server lost its last writes."""
        self.coverage["fault roll back"] += 1
        self.rollbacks += 1
        keep = max(1, len(self.ledger.writes) - self.chance.randint(1, 12))
        self.ledger.roll_back(keep)
        self.acknowledged.clear()
        self.trusted_from = self.now + 10.0  # verdicts from before may still be on their way

    # The network.

    def to_master(self, worker: SimulatedWorker, message: wire.Message) -> None:
        """A frame from a worker."""
        peer = worker.peer
        self._cross(wire.encode(message), lambda frames: self._at_master(peer, wire.decode(frames)))

    def to_worker(self, peer: bytes, message: wire.Message) -> None:
        """A frame to a routing id; nobody may be there any more."""
        worker = next((w for w in self.workers if w.peer == peer and w.alive), None)
        if worker is None:
            if self.dispatch is not None:
                self.dispatch.unreachable(self.now, peer)
            return
        frames = wire.encode(message)
        self._cross(frames, lambda f: worker.receive(wire.decode(f)) if worker.alive and worker.peer == peer else None)

    def _cross(self, frames: list[bytes], arrive: Callable[[list[bytes]], None]) -> None:
        if self.drop_next:
            self.drop_next -= 1
            return
        delay = 0.001 + self.chance.random() * 0.004
        if self.delay_next:
            self.delay_next -= 1
            delay += self.chance.random() * 4.0
        self.after(delay, lambda: arrive(frames))
        if self.double_next:
            self.double_next -= 1
            self.after(delay + self.chance.random() * 3.0, lambda: arrive(frames))

    # The master's loop.

    def start_master(self) -> None:
        """A new process: watch the beat, take the lead, load."""
        life = self.master_life
        seen = self.ledger.observe()

        def take() -> None:
            if life != self.master_life:
                return
            try:
                self._lead(seen)
            except FencedError:
                self.after(0.1, self.start_master)

        self.after(0.3, take)

    def _lead(self, seen: Lead) -> None:
        self.incarnations += 1
        lead = self.ledger.take(
            f"i{self.incarnations}", seen, witness=self.dataset.epoch, ledger_id="L", name=f"m{self.master_life}"
        )
        if lead.epoch <= self.dataset.epoch:
            raise Violation(f"epoch {lead.epoch} was used before")
        self.dataset.epoch = lead.epoch
        self.beat = 2
        reply = self.ledger.commit(lead.incarnation, 1, [], [f"front:{op.value}" for op in Operation])
        loaded = Loaded(self.ledger.held(), self.ledger.retry(), reply)
        before = self.dispatch
        self.dispatch = self.make_dispatch(lead, self.traversal, self.terms, loaded, self.now, self.chance)
        if before is not None:
            self.dispatch.succeed(before)
        jobs: list[Any] = []
        for target in self.targets:
            job = self.traversal.first_job(target)
            jobs += [target, self.traversal.queue(job), pack_job(job), self.traversal.level(job)]
        self.dispatch.intake = iter([["I", "seen", self.traversal.front, jobs]])
        self._send_outbox()
        life = self.master_life
        self.after(0.0, lambda: self._turn(self.dispatch, life))

    def _at_master(self, peer: bytes, message: wire.Message) -> None:
        if self.dispatch is not None:
            self.dispatch.receive(self.now, peer, message)
            self._send_outbox()

    def _send_outbox(self) -> None:
        dispatch = self.dispatch
        assert dispatch is not None
        messages, dispatch.outbox = dispatch.outbox, []
        for peer, message in messages:
            if self.cut_outbox is not None:
                self.cut_outbox -= 1
                if self.cut_outbox < 0:
                    self.cut_outbox = None
                    self.kill_master()
                    return
            self.to_worker(peer, message)

    def _turn(self, dispatch: Dispatch | None, life: int) -> None:
        """One turn of the loop: a tick, and a commit if there is one to make."""
        if dispatch is None or dispatch is not self.dispatch or life != self.master_life:
            return
        dispatch.tick(self.now)
        if dispatch.idle:
            lead = dispatch.lead
            try:
                self.ledger.release(Lead(lead.incarnation, self.beat, lead.epoch, lead.ledger_id, lead.name))
            except FencedError:
                self._retake(life)
                return
            dispatch.quit("all done")
            self.finished = True
            return
        batch = dispatch.next_batch(self.now)
        self._send_outbox()
        if dispatch is not self.dispatch:
            return
        if batch is None:
            self.after(0.02, lambda: self._turn(dispatch, life))
            return
        cut, self.cut_reply = self.cut_reply, ""
        if cut in ("after", "die") and not any(transition[0] in "PD" for transition in batch):
            cut, self.cut_reply = "", cut  # it waits for a commit that somebody counts on
        if cut == "before":
            self._retake(life)
            return
        queues, incarnation, beat = dispatch.queues, dispatch.lead.incarnation, self.beat
        if cut == "late":  # the request lies in a buffer, and reaches the server when another has taken the lead
            self.after(0.2 + self.chance.random(), lambda: self._too_late(incarnation, beat, batch, queues))
            self._retake(life)
            return
        try:
            reply = self.ledger.commit(incarnation, beat, batch, queues)
        except LedgerError:
            self._retake(life)
            return
        self._cover(batch, reply)
        self.beat = beat + 1
        if cut == "after":
            self._retake(life)
            return
        if cut == "die":  # committed, and nobody is told
            self.kill_master()
            return
        self.after(0.001 + self.chance.random() * 0.004, lambda: self._committed(dispatch, life, reply))

    def _too_late(self, incarnation: str, beat: int, batch: list[Any], queues: list[str]) -> None:
        try:
            self.ledger.commit(incarnation, beat, batch, queues)
            self.coverage["late commit accepted"] += 1
        except FencedError:
            self.coverage["late commit refused"] += 1

    def _retake(self, life: int) -> None:
        """The connection broke: what the ledger has is unknown, so the lead is taken anew by the same process."""
        self.after(0.05, lambda: self.start_master() if life == self.master_life else None)

    def _committed(self, dispatch: Dispatch, life: int, reply: Reply) -> None:
        if dispatch is not self.dispatch or life != self.master_life:
            return
        try:
            dispatch.committed(self.now, reply)
        except InconsistentError as error:
            raise Violation(f"ledger and leader differ: {error}") from error
        self._send_outbox()
        self._turn(dispatch, life)

    def _cover(self, batch: list[Any], reply: Reply) -> None:
        for transition, status in zip(batch, reply.statuses, strict=True):
            kind = transition[0]
            self.coverage[f"{kind} {'jobs' if kind == 'L' else status if kind in 'PDXBRKWCE' else ''}".strip()] += 1

    # The promises.

    @property
    def deaths(self) -> int:
        """How often knowledge of budgets was lost: a process died, or the ledger forgot leases."""
        return self.kills + self.rollbacks

    def acknowledge(self, operation: Operation, user: str, cursor: str) -> None:
        """A worker was told that this page is in the ledger."""
        if self.now >= self.trusted_from:
            self.acknowledged.add((operation, user, cursor))

    def fetched(self, operation: Operation, user: str, cursor: str) -> None:
        """A page is being fetched: it must not have been acknowledged."""
        if (operation, user, cursor) in self.acknowledged:
            raise Violation(f"{operation.value} {user} at {cursor!r} was acknowledged, and is fetched again")

    def check(self) -> None:
        """What must hold at the end, whatever happened."""
        accounts = self.graph.within(self.targets, self.depth)
        expected: dict[tuple[Operation, str], list[str]] = {}
        for account in accounts:
            expected[Operation.TIMELINE, account] = self.graph.posts[account]
            expected[Operation.FOLLOWER, account] = self.graph.followers[account]
            expected[Operation.ANALYSE, account] = self.graph.followers[account]
        totals = self.ledger.totals()
        claims = {
            "the dataset is exact": self.dataset.files == expected,
            "every account is seen once": sorted(self.ledger.accounts("seen")) == sorted(accounts),
            "every job is done once": all(totals.get(f"{o}.done") == len(accounts) for o in "TFA"),
            "counts are exact": all(
                totals.get(f"{operation.value}.records", 0)
                == sum(len(records) for (o, _), records in expected.items() if o is operation)
                for operation in self.traversal.operations
            ),
            "the log has no gap": [e[0] for e in self.ledger.log()] == list(range(1, self.ledger.heads()[""] + 1)),
            "each end is announced once": sum(e[2] == "job.done" for e in self.ledger.log()) == 3 * len(accounts),
            "nothing is left": not self.ledger.queue_names() and not self.ledger.held() and not self.ledger.retry(),
            "no grant leaked": all(b.outstanding == 0 for b in self.dispatch.budgets.by_key.values())
            if self.dispatch
            else False,
            "limits were kept": self.service.refused <= self.deaths * len(self.workers),
        }
        broken = [claim for claim, holds in claims.items() if not holds]
        if broken:
            raise Violation(f"broken: {', '.join(broken)}; {totals}")
