"""The whole cluster in one process on a virtual clock: one master or a pair, workers and service; the ledger is real.

Frames cross a network that drops, doubles, delays and reorders them, and that is cut, one way or both; processes die
between any two steps, or stand still for a while; each has a clock of its own. The ledger's connection breaks before or
after a commit, its server stalls, and is rolled back to an earlier prefix of its commits, by replaying them (the script
is deterministic). Everything random comes from the seed, so that a seed replays exactly.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from master.admin.dead_letters import requeued
from master.dispatch.dispatcher import Dispatch
from master.frontier.traversal import Traversal, Traversing
from master.leadership.ledger_calls import Ending, Question
from master.member import Member
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.jobs import Operation
from storage.ledger.ledger import Reply
from storage.ledger.transitions import KINDS, EmptySet, HandOut, LeaseTransition, Remember, Transition, Wake
from tests.simulation.faults import draw_faults
from tests.simulation.recorder import Recorder
from tests.simulation.service import Dataset, Graph, Service
from tests.simulation.simulated_master import SimulatedMaster
from tests.simulation.violation import Violation
from tests.simulation.workplace import SimulatedWorker

WORKERS = 3
ACCOUNTS = 20
FAULTS = 24
DEADLINE = 900.0
"""Virtual seconds in which a crawl must end."""
LEADERLESS_S = 3.0
"""Virtual seconds without a leader, while a master, the ledger and all workers can talk."""
WATCH_S = 0.1


@dataclass
class Simulation:
    """One seed. `make_dispatch` and `make_member` let a mutant take the place of the real one."""

    seed: int
    client: redis.Redis
    source: str | None = None
    make_dispatch: Callable[..., Dispatch] = Dispatch
    make_member: Callable[..., Member] = Member
    coverage: Counter[str] = field(default_factory=Counter)
    gentle: bool = False
    """Whether only frames are lost and connections cut, and nobody dies."""
    paired: bool = False
    """Whether there are two masters."""
    letters: bool = False
    """Whether jobs are given up soon, and somebody requeues the dead letters, now and then and before the end."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self.client.flushdb()
        self.ledger = Recorder(self.client, "sim")
        if self.source is not None:
            self.ledger._source = self.source
        # With letters there is no limit: who is found by a longer path while a letter is dead keeps that depth.
        self.depth = 0 if self.letters else self.chance.choice([0, 0, 3])
        self.graph = Graph.draw(self.chance, ACCOUNTS, near=0 if self.depth else 6)
        mode = Traversing.BFS if self.depth else self.chance.choice([Traversing.BFS, Traversing.DFS])
        operations = (Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE)
        self.traversal = Traversal(operations, mode, self.depth)
        self.service = Service(self.graph, limit=self.chance.choice([5, 15, 1000]), window=10.0)
        self.dataset = Dataset()
        self.targets = sorted(self.graph.followers)[:2]
        self.policy = CrawlPolicy(
            crawl="sim",
            service="sim",
            worker_timeout=6.0,
            grace=3.0,
            retry_base=1.0,
            retry_most=10.0,
            job_tries=1 if self.letters else 50,
            job_lapses=50,
        )
        self.filled_by = self.chance.choice([1, 3, 1000])  # so many transitions make a commit behind another
        self.acknowledged: set[tuple[Operation, str, str]] = set()
        self.trusted_from = 0.0
        self.kills = self.rollbacks = self.tools = 0
        self.finished = False
        self.drop_next = self.double_next = self.delay_next = 0
        self.cut_reply = ""
        self.cut_outbox: int | None = None
        self.cuts: dict[tuple[str, str], float] = {}
        self.redis_stalled_until = 0.0
        self.epochs: set[int] = set()
        self.tokens: set[str] = set()
        self.leaderless_since = 0.0
        self.last_dispatch: Dispatch | None = None
        number = 2 if self.paired else 1
        self.masters = [SimulatedMaster(self, n, paired=self.paired) for n in range(number)]
        self.workers = [SimulatedWorker(self, f"w{n}", masters=number) for n in range(WORKERS)]

    # Time.

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + delay, next(self._sequence), action))

    def run(self) -> None:
        """Run to the end of the crawl, and check what was promised."""
        self.masters[0].start()
        for other in self.masters[1:]:  # both at once, or one slow to start
            self.after(self.chance.choice([0.0, self.chance.random() * 3]), other.start)
        for worker in self.workers:
            self.after(self.chance.random(), worker.start)
        draw_faults(self)
        if self.letters:
            self._requeue()
        if self.paired:
            self._watch()
        while self._events and not self.finished:
            self.now, _, action = heapq.heappop(self._events)
            if self.now > DEADLINE:
                raise Violation(f"not finished after {DEADLINE} virtual seconds: {self.ledger.totals()}")
            action()
        self.check()

    # The network.

    def is_cut(self, one: str, other: str) -> bool:
        """Whether nothing goes from one to the other now."""
        return self.cuts.get((one, other), 0.0) > self.now

    def cut(self, one: str, other: str, seconds: float, *, one_way: bool = False) -> None:
        """Nothing goes there for so long, nor back."""
        for way in [(one, other)] if one_way else [(one, other), (other, one)]:
            self.cuts[way] = max(self.cuts.get(way, 0.0), self.now + seconds)

    def to_master(self, worker: SimulatedWorker, number: int, message: wire.Message) -> None:
        """A frame from a worker."""
        peer, master = worker.peer, self.masters[number]
        self._cross(
            worker.name,
            master.name,
            wire.encode(message),
            lambda frames: master.later(0.0, lambda: master.receive(peer, wire.decode(frames))),
        )

    def to_peer(self, master: SimulatedMaster, word: wire.PeerWord) -> None:
        """A frame from a master to the other one."""
        other = self.masters[1 - master.number]
        self._cross(
            master.name,
            other.name,
            wire.encode(word),
            lambda frames: other.later(0.0, lambda: other.receive(b"peer", wire.decode(frames))),
        )

    def to_worker(self, master: SimulatedMaster, peer: bytes, message: wire.Message) -> None:
        """A frame to a routing id; nobody may be there any more."""
        worker = next((w for w in self.workers if w.peer == peer and w.alive), None)
        if worker is None:
            master.unreachable(peer)
            return
        number = master.number

        def arrive(frames: list[bytes]) -> None:
            if worker.alive and worker.peer == peer:
                worker.receive(number, wire.decode(frames))

        self._cross(master.name, worker.name, wire.encode(message), arrive)

    def _cross(self, one: str, other: str, frames: list[bytes], arrive: Callable[[list[bytes]], None]) -> None:
        if self.is_cut(one, other):
            return
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

    # What is watched.

    def new_epoch(self, epoch: int) -> None:
        """A lead was taken in this epoch."""
        if epoch in self.epochs or epoch <= self.dataset.epoch:
            raise Violation(f"epoch {epoch} was used before")
        self.epochs.add(epoch)
        self.dataset.epoch = epoch

    def cover(self, batch: list[Transition], reply: Reply) -> None:
        """A commit was accepted."""
        for transition, status in zip(batch, reply.statuses, strict=True):
            counted = isinstance(transition, LeaseTransition | Wake | Remember | EmptySet)
            leases = isinstance(transition, HandOut)
            self.coverage[f"{KINDS[type(transition)]} {'jobs' if leases else status if counted else ''}".strip()] += 1
            if leases:
                for token in map(bytes.decode, status[::2]):
                    if token in self.tokens:
                        raise Violation(f"the token {token} was handed out before")
                    self.tokens.add(token)

    def may_differ(self, question: Question) -> bool:
        """Whether a leader may find the ledger other than it remembers: never, since a rolled-back one refuses it."""
        return False

    def _letters(self) -> list[Transition]:
        """What tries every dead letter again."""
        names = sorted(f"{job.operation.value}:{job.user}" for job, _ in self.ledger.dead())
        letters = [(name, self.ledger.letter(name)) for name in names]
        return [requeued(self.traversal, name, letter) for name, letter in letters if letter is not None]

    def _requeue(self) -> None:
        """Somebody tells the leader, now and then, to try them again."""
        for master in self.masters:
            if master.leads and master.member.dispatch is not None and not master.member.finished:
                for transition in self._letters():
                    self.coverage["letters requeued"] += 1
                    master.member.dispatch.also(transition)
        self.after(self.chance.random() * 4, self._requeue)

    def _requeue_at_rest(self, master: SimulatedMaster) -> bool:
        """A crawl that ended with letters: they are requeued by a tool, and it is started again."""
        letters, seen = self._letters(), self.ledger.observe()
        if not letters:
            return False
        if not seen.incarnation:
            self.tools += 1
            lead = self.ledger.take(
                f"tool.{self.tools}", seen, witness=self.dataset.epoch, ledger_id="L", name="requeue"
            )
            self.new_epoch(lead.epoch)
            self.ledger.commit(lead.incarnation, 1, letters, [])
            self.ledger.release(lead.incarnation, 2)
            self.coverage["letters requeued at rest"] += len(letters)
        master.over = False
        self.after(0.5, master.start)
        for worker in self.workers:
            if not worker.alive:
                self.kills += 1  # one that is on its way up comes twice
                self.after(0.5, worker.start)
        return True

    def _watch(self) -> None:
        """There must be a leader soon after a master can talk to the ledger and to all workers."""
        led = any(master.leads for master in self.masters)
        able = self.now >= self.redis_stalled_until and any(self._able(master) for master in self.masters)
        if led or not able:
            self.leaderless_since = self.now
        elif self.now - self.leaderless_since > LEADERLESS_S:
            raise Violation(f"no leader for {LEADERLESS_S} s, though one could lead")
        self.after(WATCH_S, self._watch)

    def _able(self, master: SimulatedMaster) -> bool:
        if not master.alive or self.now < master.stopped_until:
            return False
        others = ["redis", *(worker.name for worker in self.workers)]
        return not any(self.is_cut(*way) for o in others for way in ((master.name, o), (o, master.name)))

    def ended(self, master: SimulatedMaster) -> None:
        """A master left: it has finished the crawl, or read in the ledger that somebody has, perhaps in an earlier life
        whose last request came late."""
        if master.member.ending is not Ending.DONE:
            raise Violation(f"{master.name} left, and did not say that it is done")
        if master.member.dispatch is not None:
            self.last_dispatch = master.member.dispatch
        if self.letters and self._requeue_at_rest(master):
            return
        led = master.member.dispatch is not None and not self.letters
        self.finished = led or all(m.over for m in self.masters)

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
        again = totals.get("A.again", 0)
        self.coverage["analyses that came again"] += again
        claims = {
            "the dataset is exact": self.dataset.files == expected,
            "every account is seen once": sorted(self.ledger.accounts("seen")) == sorted(accounts),
            "every job is done once": all(
                totals.get(f"{o}.done", 0) - totals.get(f"{o}.again", 0) == len(accounts) for o in "TFA"
            ),
            "only what found no list came again": totals.get("A.no-list", 0) == again,
            "counts are exact": all(
                totals.get(f"{operation.value}.records", 0)
                == sum(len(records) for (o, _), records in expected.items() if o is operation)
                for operation in self.traversal.operations
            ),
            "the log has no gap": [e[0] for e in self.ledger.log()] == list(range(1, self.ledger.heads()[""] + 1)),
            "each end is announced once": sum(e[2] == "job.done" for e in self.ledger.log())
            == 3 * len(accounts) + again,
            "nothing is left": not self.ledger.queue_names() and not self.ledger.held() and not self.ledger.retry(),
            "no grant leaked": self.last_dispatch is None
            or all(b.outstanding == 0 for b in self.last_dispatch.budgets.by_key.values()),
            "limits were kept": self.service.refused <= self.deaths * len(self.workers),
        }
        broken = [claim for claim, holds in claims.items() if not holds]
        if broken:
            raise Violation(f"broken: {', '.join(broken)}; {totals}")
