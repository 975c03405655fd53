"""What a standby knows of workers and budgets, so that it can lead at once. No clock, no I/O.

It assigns nothing and accepts no reports about jobs: those are the ledger's. A worker that it welcomes when it takes
the lead answers with a heartbeat, and gets its first job after that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from master.dispatch.budgets import Budgets, budget_key
from master.policy import CrawlPolicy
from protocol import messages as wire

MAX_UNKNOWN = 100_000
"""Workers that are remembered; later ones send HELLO again when this master leads."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A master's place in a pair: its number, its address, and the peer's address."""

    number: int
    address: str
    peer: str


@dataclass(slots=True)
class KnownWorker:
    """A worker: its last HELLO, and when it was last heard."""

    hello: wire.Hello
    heard_at: float


@dataclass(slots=True)
class StandbyState:
    """Every worker that sent HELLO, by its routing id; and the budgets that the services reported."""

    policy: CrawlPolicy
    workers: dict[bytes, KnownWorker] = field(default_factory=dict)
    budgets: Budgets = field(default_factory=Budgets)

    def hear(self, now: float, peer: bytes, message: wire.Message, *, leads: bool = False) -> bool:
        """Record a worker's message, whichever master leads. False when the worker is unknown here. The leader's
        dispatch records the budgets, which are the same object."""
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
        """Remove workers that were silent for too long."""
        for peer in [p for p, w in self.workers.items() if now - w.heard_at > self.policy.worker_timeout]:
            del self.workers[peer]
        self.budgets.none_but(self.workers, now)

    def lately(self, now: float) -> int:
        """Workers heard within the last three heartbeats."""
        return sum(now - known.heard_at <= 3 * self.policy.heartbeat for known in self.workers.values())

    def expected(self) -> list[tuple[bytes, wire.Hello]]:
        """The workers for a new leader to welcome, last heard first, one per name. None has room yet."""
        chosen: dict[str, tuple[bytes, wire.Hello]] = {}
        for peer, known in sorted(self.workers.items(), key=lambda item: -item[1].heard_at):
            chosen.setdefault(known.hello.name, (peer, known.hello._replace(room=0)))
        return list(chosen.values())
