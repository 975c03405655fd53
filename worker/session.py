"""The state of a worker: its leases, their pages and ends until they are committed, and the leader it obeys.

No socket, no thread, no clock in here: `now` is the caller's monotonic time in seconds. Events go in; messages
(`outbox`) and orders to the working threads (`orders`) come out, both emptied by the loop.

The state machine of a lease is in `worker/held_leases.py`. Rules it keeps:
  * A page or an end is kept, and sent again to the leader, until a verdict names its token and step.
  * The next page is requested only after the last one is committed.
  * It obeys the highest epoch that it has seen, and ignores lower ones.
  * A job that is known, or was, is not started again when its frame is duplicated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from protocol import messages as wire
from worker.client.heard_budgets import HeardBudgets
from worker.held_leases import HeldAct, HeldEvent, HeldLease

REMEMBERED = 10_000
"""Tokens of ended leases, kept to recognise a late frame."""

MAX_PAYLOAD = wire.MAX_BODY_BYTES // 4
"""Bytes of pages, and of the accounts that they lead to, in one message: one of them alone may be larger."""

MAX_HEARTBEAT_S = 3600.0
"""Seconds between heartbeats, whatever a master says."""


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start this job."""

    job: wire.Assignment


@dataclass(frozen=True, slots=True)
class ContinueJob:
    """The page is committed: continue, with that many requests granted since the lease began."""

    token: str
    granted: int


@dataclass(frozen=True, slots=True)
class StopJob:
    """The lease is lost: stop as soon as possible; its results are discarded."""

    token: str


@dataclass(frozen=True, slots=True)
class ForgetJob:
    """The end is committed: what was kept for it can be deleted. `done`: its segments are merged."""

    job: wire.Assignment
    done: bool


@dataclass(frozen=True, slots=True)
class LeaveCrawl:
    """Stop the worker: the crawl is over (`fault` is False), or a master refuses it."""

    reason: str
    fault: bool


Order = StartJob | ContinueJob | StopJob | ForgetJob | LeaveCrawl


@dataclass(slots=True)
class Session:
    """The decisions of one run of a worker. `masters` is how many it is connected to."""

    name: str
    run: str
    service: str
    operations: list[str]
    room: int
    callers: list[wire.Caller]
    masters: int = 1
    heartbeat: float = 1.0
    silence: float = 5.0
    crawl: str = ""
    outbox: list[tuple[int, wire.Message]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    leases: dict[str, HeldLease] = field(default_factory=dict)
    epoch: int = 0
    leader: int | None = None
    budgets: HeardBudgets = field(default_factory=HeardBudgets)
    _incarnation: str = ""
    _heard_at: float = float("-inf")
    _beat_at: float = float("-inf")
    _greeted_at: dict[int, float] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _over: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def may_ask(self, now: float) -> bool:
        """Whether a leader was heard lately: otherwise no request is sent to the service."""
        return now - self._heard_at <= self.silence

    # Messages of the masters.

    def message(self, now: float, master: int, message: wire.Message) -> None:
        """A message from a master. Those below the highest epoch are ignored."""
        if isinstance(message, wire.StandbyNotice):
            self._standby(now, master, message)
            return
        epoch = getattr(message, "epoch", None)
        if epoch is not None:
            if epoch < self.epoch:
                return
            if not self.may_ask(now):
                for lease in self.leases.values():  # nothing could progress while there was no leader
                    lease.moved_at = now
            self.epoch, self.leader, self._heard_at = epoch, master, now
        match message:
            case wire.Welcome():
                self._welcome(now, master, message)
            case wire.JobGiven():
                for job in message.jobs:
                    self._job(now, job)
            case wire.Committed():
                for verdict in message.verdicts:
                    self._verdict(now, verdict)
            case wire.Revoke():
                for token in message.tokens:
                    self._happened(now, token, HeldEvent.REVOKED)
            case wire.Quit():
                self.orders.append(LeaveCrawl(message.reason, fault=False))
            case wire.Refused():
                self._refused(now, master, message)
            case _:
                pass

    def _welcome(self, now: float, master: int, message: wire.Welcome) -> None:
        self._met(master, message)
        if message.incarnation != self._incarnation:
            self._incarnation = message.incarnation
            for lease in self.leases.values():
                lease.sent_at = float("-inf")
        self._beat(now, [master])
        self._send_unsure(now)

    def _standby(self, now: float, master: int, message: wire.StandbyNotice) -> None:
        """A standby knows this worker. It gives no orders; if it led before, there is no leader at present."""
        self._met(master, message)
        if self.leader == master and message.epoch >= self.epoch:
            self.leader = None

    def _met(self, master: int, message: wire.Welcome | wire.StandbyNotice) -> None:
        self._known.add(master)
        self.crawl = message.crawl
        if message.heartbeat_ms:
            self.heartbeat = min(message.heartbeat_ms / 1000, MAX_HEARTBEAT_S)
            self.silence = max(self.silence, 5 * self.heartbeat)

    def _refused(self, now: float, master: int, message: wire.Refused) -> None:
        if message.code == "who":
            self._known.discard(master)
            if now - self._greeted_at.get(master, float("-inf")) > self.heartbeat / 4:
                self._greet(now, master)
        elif message.code in ("name-in-use", "full", "service", "version"):
            self.orders.append(LeaveCrawl(message.words, fault=True))

    def _job(self, now: float, job: wire.Assignment) -> None:
        if job.token in self.leases or job.token in self._over:
            return
        self.leases[job.token] = HeldLease(job, job.granted, 0, job.steps, now)
        self.orders.append(StartJob(job))

    def _verdict(self, now: float, verdict: wire.Verdict) -> None:
        if verdict.status == wire.STALE:
            self._happened(now, verdict.token, HeldEvent.STALE)
        elif lease := self.leases.get(verdict.token):
            lease.granted = max(lease.granted, verdict.granted)
            if lease.awaits(verdict):
                self._happened(now, verdict.token, HeldEvent.COMMITTED)

    def _happened(self, now: float, token: str, event: HeldEvent, sent: wire.Step | wire.End | None = None) -> None:
        """`sent` is what is to be committed, of an event of the threads. A token that is not held is passed over."""
        lease = self.leases.get(token)
        if lease is None:
            return
        match lease.happened(event), lease.unsure:
            case HeldAct.SEND, _ if sent is not None:
                lease.unsure, lease.spent, lease.moved_at, lease.sent_at = sent, sent.spent, now, float("-inf")
            case HeldAct.CONTINUE, wire.Step(step=step):
                lease.unsure, lease.step, lease.moved_at = None, step, now
                self.orders.append(ContinueJob(token, lease.granted))
            case HeldAct.STOP, _:
                self._drop(token)
                self.orders.append(StopJob(token))
            case HeldAct.FORGET, wire.End(how=how):
                self._drop(token)
                self.orders.append(ForgetJob(lease.job, how == wire.DONE))
            case _:
                pass

    # Reports of the threads.

    def stored(self, now: float, step: wire.Step) -> None:
        """A page is stored durably."""
        self._happened(now, step.token, HeldEvent.STORED, step)

    def ended(self, now: float, end: wire.End) -> None:
        """A lease ended here."""
        self._happened(now, end.token, HeldEvent.ENDED, end)

    def spent(self, token: str, requests: int) -> None:
        """That many requests of this lease have been answered so far, and the budgets include them.

        Not those in flight: until the service's count includes them, the grant must hold them.
        """
        lease = self.leases.get(token)
        if lease is not None:
            lease.spent = max(lease.spent, requests)

    def flush(self, now: float) -> None:
        """Send what is pending."""
        self._send_unsure(now)

    def tick(self, now: float) -> None:
        """Handle the clock: heartbeats, greetings, and resending what was not answered in time."""
        for master in range(self.masters):
            if master not in self._known and now - self._greeted_at.get(master, float("-inf")) >= self.heartbeat:
                self._greet(now, master)
        if now - self._beat_at >= self.heartbeat:
            self._beat_at = now
            self._beat(now, sorted(self._known))
        self._send_unsure(now)

    def not_sent(self, master: int, message: wire.Message) -> None:
        """A message could not be sent: a master not greeted yet is greeted at the next tick."""
        if isinstance(message, wire.Hello):
            self._greeted_at.pop(master, None)

    def retire(self, now: float) -> None:
        """Accept no more jobs."""
        self.room = 0
        self._beat(now, sorted(self._known))

    def bye(self) -> None:
        """Send BYE: this worker leaves."""
        self.outbox += [(master, wire.Bye(self.run)) for master in range(self.masters)]

    # Outgoing messages.

    def _greet(self, now: float, master: int) -> None:
        self._greeted_at[master] = now
        hello = wire.Hello(
            self.name, self.run, self.service, self.operations, self.room, self.callers, self._held(now), []
        )
        self.outbox.append((master, hello._replace(budgets=self.budgets.reports(now))))

    def _beat(self, now: float, masters: list[int]) -> None:
        beat = wire.Heartbeat(self.run, self.room, self._held(now), self.budgets.reports(now))
        self.outbox += [(master, beat) for master in masters]

    def _send_unsure(self, now: float) -> None:
        """Send the leader the pages and ends that are new, or that were sent two heartbeats ago and not answered."""
        if self.leader is None or self.leader not in self._known:
            return
        steps: list[wire.Step] = []
        ends: list[wire.End] = []
        for lease in self.leases.values():
            if lease.unsure is None or now - lease.sent_at < 2 * self.heartbeat:
                continue
            lease.sent_at = now
            if isinstance(lease.unsure, wire.Step):
                steps.append(lease.unsure)
            else:
                ends.append(lease.unsure)
        reports = self.budgets.reports(now) if steps or ends else []
        for some in _loads(steps):
            self.outbox.append((self.leader, wire.ProgressMade(some, reports)))
        for others in _loads(ends):
            self.outbox.append((self.leader, wire.Result(others, reports)))

    def _held(self, now: float) -> list[wire.Spent]:
        return [
            wire.Spent(token, lease.granted, lease.spent, max(0, int((now - lease.moved_at) * 1000)))
            for token, lease in self.leases.items()
        ]

    def _drop(self, token: str) -> None:
        del self.leases[token]
        self._over[token] = None
        if len(self._over) > REMEMBERED:
            self._over.popitem(last=False)


Load = TypeVar("Load", wire.Step, wire.End)


def _loads(items: Sequence[Load]) -> Iterator[list[Load]]:
    """As many as one message may carry."""
    load: list[Load] = []
    size = 0
    for item in items:
        weight = len(item.payload) + sum(map(len, item.found)) + 3 * len(item.found)
        if load and size + weight > MAX_PAYLOAD:
            yield load
            load, size = [], 0
        load.append(item)
        size += weight
    if load:
        yield load
