"""What a master knows of workers and budgets while it does not lead, so that it can lead at once. No clock, no I/O.

It gives no orders and believes nobody about jobs: those are the ledger's. A worker that it welcomes when it takes the
lead answers with a heartbeat, and gets its first job after that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from master.dispatch.budgets import Budgets, budget_key
from master.policy import CrawlPolicy
from protocol import messages as wire

MAX_UNKNOWN = 100_000
"""Workers that are remembered; whoever comes later says HELLO again when this master leads."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A master's place in a pair: its number, where it listens, and where the other one does."""

    number: int
    address: str
    peer: str


@dataclass(slots=True)
class KnownWorker:
    """A worker: the last HELLO that it said, and when it was heard."""

    hello: wire.Hello
    heard_at: float


@dataclass(slots=True)
class StandbyState:
    """Every worker that said HELLO, by its routing id; and what the services said of their budgets."""

    policy: CrawlPolicy
    workers: dict[bytes, KnownWorker] = field(default_factory=dict)
    budgets: Budgets = field(default_factory=Budgets)

    def hear(self, now: float, peer: bytes, message: wire.Message, *, leads: bool = False) -> bool:
        """Remember what a worker says, whoever leads. False when this master does not know it. One that leads takes in
        what is said of budgets, which are the same, by its dispatch."""
        known = self.workers.get(peer)
        match message:
            case wire.Hello():
                if known is None and len(self.workers) >= MAX_UNKNOWN:
                    return False
                for other in [p for p, w in self.workers.items() if w.hello.name == message.name and p != peer]:
                    if now - self.workers[other].heard_at > 2 * self.policy.heartbeat:
                        del self.workers[other]  # an earlier run of it
                self.workers[peer] = KnownWorker(message._replace(held=[], budgets=[]), now)
                for caller in message.callers:
                    if " " not in caller.who + caller.endpoint:
                        self.budgets.of(budget_key(message.service, caller.who, caller.endpoint))
                self.budgets.report(self.policy.service, now, message.budgets, peer)
                return True
            case wire.Bye():
                self.workers.pop(peer, None)
                return True
        if known is None:
            return False
        known.heard_at = now
        if not leads and isinstance(message, (wire.Heartbeat, wire.ProgressMade, wire.Result)):
            self.budgets.report(self.policy.service, now, message.budgets, peer)
        return True

    def tick(self, now: float) -> None:
        """Forget workers that were silent for too long."""
        for peer in [p for p, w in self.workers.items() if now - w.heard_at > self.policy.worker_timeout]:
            del self.workers[peer]
        self.budgets.none_but(self.workers, now)

    def lately(self, now: float) -> int:
        """Workers that were heard in the last three heartbeats."""
        return sum(now - known.heard_at <= 3 * self.policy.heartbeat for known in self.workers.values())

    def expected(self) -> list[tuple[bytes, wire.Hello]]:
        """The workers for a new leader to welcome, the one heard last first, one a name. None has room as yet."""
        chosen: dict[str, tuple[bytes, wire.Hello]] = {}
        for peer, known in sorted(self.workers.items(), key=lambda item: -item[1].heard_at):
            chosen.setdefault(known.hello.name, (peer, known.hello._replace(room=0)))
        return list(chosen.values())
